"""What is broken in the cluster: from the counts of a closed window to the name of a node, a pair or a zone pair. Pure.

- `window`: the input: nodes, rows, samples, and the state of a cell.
- `past`: what is usual for each cell's latency, learned from earlier windows.
- `tables`: the window as counts of a symptom, a cell each.
- `history`: the losses of the last windows, for low rates that need several.
- `elements`: what can be broken, and which cells see it.
- `likelihood`: how much better a fault explains counts than chance does.
- `members`: the cells of a fault.
- `accounts`: how well an element explains what a table shows.
- `localization`, `pairs`: the few faults that explain all of it: nodes and zone pairs, then what is left.
- `findings`: the output: elements with evidence and confidence.
- `witnesses`: the evidence of a finding: who sees it, and in which direction packets are lost.
- `agents`: agents that are short of CPU, and agents that do not answer.
- `hysteresis`: a diagnosis opens after two windows and closes after three.
- `diagnoser`: all of this, a window at a time.
- `text`: the diagnoses as sentences.

The method is a greedy search for the most likely set of faults, as in Flock (Harsh, Meng, Agrawal, Godfrey: "Flock:
Accurate network fault localization at scale", CoNEXT 2023). `bench/diagnosis` compares it with other algorithms.
"""

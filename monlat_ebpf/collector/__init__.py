"""The collector: asks every agent, and serves the whole matrix as a page, as JSON and as metrics.

collector   connects the parts, starts and stops them
config      the settings, checked
asking      asks one agent again and again: a task for each
slots       when each agent is asked: pure
fetch       one HTTP request with limits in time and bytes; imports `h11`
answer      what an agent answered, checked: pure
counts      what it has counted since its start, checked: pure
growth      what it counted between two answers: pure
windows     successive answers of all agents as closed windows: pure
diagnosing  has each closed window decided, in a thread of its own
detail      what an agent answered about one peer, checked: pure
watching    which pairs someone looks at, and their details
store       what every agent answered last
loss        the share of lost probes of the last minutes, by where they were lost: pure
recent      the RTTs of the last minutes, from the kernel's histograms: pure
history     some hours of each pair within a fixed number of bytes: pure
matrix      the JSON of all pairs: pure
pair        the JSON of one pair: pure
diagnosis_document  the JSON of what is broken: pure
metrics     the text of `/metrics`
routes      what each path answers; page/ has the files of the page

State is in memory only. Data goes one way: asking -> store, windows -> diagnosing -> matrix, pair,
diagnosis_document, metrics.
"""

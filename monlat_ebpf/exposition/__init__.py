"""How an agent publishes its measurements: Prometheus text, JSON, and the HTTP server for both.

families.py      name, type and help text of each metric of an AgentSnapshot
text.py          the Prometheus text of an AgentSnapshot
self_metrics.py  the agent's metrics about itself
api.py           the JSON of /api/v1/peers
peer_detail.py   the JSON of one peer, with its last probes
chunks.py        splits text and JSON into chunks to stream
negotiation.py   selects the format that a scraper asks for
routes.py        the answer of each path
http.py          the server; listener.py has its socket, clients.py selects the connections that keep a worker
client.py        asks an agent for its JSON
"""

"""How an agent shows its numbers: Prometheus text, JSON, and the HTTP server under both.

families.py     the names, types and help texts of what an AgentSnapshot becomes
text.py         the text format of an AgentSnapshot
self_metrics.py          the agent's metrics about itself
api.py          the JSON of /api/v1/peers
peer_detail.py     the same of one peer, with its last probes
chunks.py       both are streamed in chunks
negotiation.py  which format a scraper asked for: the place where another format joins
routes.py       what each path answers
http.py         the server; listener.py its socket; clients.py which connection keeps its worker
"""

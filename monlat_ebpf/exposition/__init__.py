"""How an agent publishes its measurements: Prometheus text and JSON over HTTP.

families.py      names, types and help texts of the metrics
scrape.py        one pass over the pairs; pair_families.py and agent_families.py  their samples, family by family
encoding.py      what a format must be able to write; a new format is a class of this kind, listed in formats.py
text.py          Prometheus text 0.0.4 and OpenMetrics 1.0
protobuf.py      Prometheus protobuf; native_histogram.py  its histograms; wire.py  messages in general
                 binary_time.py  its times
self_metrics.py  the agent's metrics about itself; self_protobuf.py  in the protobuf format
sections.py      gzip of a body whose families are written by turns
api.py           JSON of /api/v1/peers
buckets.py       what that JSON has besides for a collector
peer_detail.py   JSON of one peer, with its last probes
chunks.py        joins small pieces of text or JSON to chunks
client.py        asks an agent for this JSON; json_client.py: one request; client_access.py: with which certificates
                 and password
negotiation.py   which format and encoding a scraper accepts
routes.py        what each path answers
page_files.py    serves a page: agent_page/ is the agent's; page/ has what the collector's page shares with it
http.py          the HTTP server; messages.py, connection.py, target.py, rendering.py, listener.py, acceptor.py,
                 service.py, clients.py and turns.py are its parts
security.py      who is served; web_config.py reads it from a file, web_security.py follows the file,
                 tls_context.py, tls_stream.py and passwords.py carry it out
"""

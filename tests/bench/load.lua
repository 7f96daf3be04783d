-- wrk's script: POSTs the bodies of a file, one a line, in their order; at the end prints a line of JSON.
-- Latencies are in microseconds.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  bodies, sent = {}, 0
  local headers = { ["Content-Type"] = "application/json", ["Accept"] = "application/json" }
  for line in io.lines(args[1]) do
    bodies[#bodies + 1] = wrk.format("POST", nil, headers, line)
  end
  prepared = #bodies
end

function request()
  sent = sent + 1
  return bodies[(sent - 1) % prepared + 1]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50":%d,"p99":%d,"failed":%d,"sent":%d,"prepared":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    threads[1]:get("sent"), threads[1]:get("prepared")))
end

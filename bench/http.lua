--- How many single facts a second does HTTP take, each durable before its 2xx, from 64 clients that keep their connections? The peer is
--- the same server with one statement and one commit a request (`ingest.batch_lines=1`); beside it, `inserts`: what one connection to
--- PostgreSQL does with an INSERT of such a row a commit, without HTTP, queue or checks. Then bulk NDJSON against the server's own binary
--- COPY into the same table, and how long the answers take that pages wait for; with --long, among 10^7 facts.
local bench = require("bench")
local json = require("accrete.json")

local SECONDS = bench.is_long and 15 or 5
local CLIENTS = 64
local LINES = 300000
local PART = 1048576 -- bytes of one request of a bulk load, as pages send it
local runs = bench.runs or 3

local function milliseconds(text)
  local value, unit = text:match("([%d.]+)(%a+)")
  return tonumber(value) * ({ us = 0.001, ms = 1, s = 1000 })[unit]
end

--- wrk with a script of its own; what it says of the run.
local function wrk(url, script, clients, ...)
  local text = bench.run({ "wrk", "-t1", "-c" .. clients, "-d" .. SECONDS .. "s", "--latency", "-s", bench.root .. "/bench/" .. script, url, "--", ... })
  local bad = text:match("Non%-2xx or 3xx responses: (%d+)") or text:match("(Socket errors:[^\n]+)")
  assert(not bad, "wrk saw errors: " .. tostring(bad) .. "\n" .. text)
  return { rate = tonumber(text:match("Requests/sec:%s+([%d.]+)")), p50 = milliseconds(text:match("50%%%s+(%S+)")), p99 = milliseconds(text:match("99%%%s+(%S+)")) }
end

local function medians(list)
  local of = function(name)
    local values = {}
    for i, one in ipairs(list) do
      values[i] = one[name]
    end
    return bench.median(values)
  end
  return { rate = bench.round(of("rate"), 0), p50_ms = bench.round(of("p50"), 2), p99_ms = bench.round(of("p99"), 2) }
end

--- Milliseconds of the answers at paths, one after the other on one connection; the 50th and 99th of 100.
local function answers_ms(host, paths)
  local list = os.tmpname()
  local file = assert(io.open(list, "w"))
  for i, path in ipairs(paths) do
    file:write(i > 1 and "next\n" or "", ('url = "%s%s"\noutput = /dev/null\nwrite-out = "%%{time_total} %%{http_code}\\n"\n'):format(host:http(), path))
  end
  file:close()
  local text = bench.run({ "curl", "-s", "-K", list })
  os.remove(list)
  local times = {}
  for time, code in text:gmatch("([%d.]+) (%d+)\n") do
    times[#times + 1] = tonumber(time) * 1000
    assert(code == "200", ("%s answered %s"):format(paths[#times], code))
  end
  assert(#times == #paths)
  return { p50_ms = bench.round(bench.median(times), 2), p99_ms = bench.round(bench.quantile(times, 0.99), 2) }
end

local function many(path, count)
  local paths = {}
  for i = 1, count or 200 do
    paths[i] = path
  end
  return paths
end

--- Commits a second of one connection, an INSERT each: rows that are already there, once more into a table of the same shape.
local function inserts(host)
  local conn = host.conn
  conn:run("CREATE TABLE IF NOT EXISTS raw_measure (LIKE fact_measure INCLUDING ALL); TRUNCATE raw_measure; SET synchronous_commit = on")
  local rows = conn:query("SELECT at, source, name, weight, note, _id, _batch FROM fact_measure LIMIT 20000")
  local insert = conn:prepare(
    "INSERT INTO raw_measure (at, source, name, weight, note, _id, _batch) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING")
  local count, start = 0, bench.now()
  while count < #rows and bench.now() - start < SECONDS do
    count = count + 1
    local row = rows[count]
    insert:query(row.at, row.source, row.name, row.weight, row.note, row._id, row._batch)
  end
  return count / (bench.now() - start)
end

--- Answers among 10^7 facts, each found by the one before it.
local function among_many()
  local CHAINS, LAST = 10000, 1000
  local host = bench.host("bench/apps/chain", { ["settings.last"] = LAST })
  local chain = 0
  host:ingest("step", { "chain", "n" }, function()
    chain = chain + 1
    return chain <= CHAINS and { chain, 1 } or nil
  end)
  host:wait(bench.now())
  host:command("index", "explorer", "--quiet")
  local count = host:count("step")
  bench.say("http: %d facts, indexes of the explorer built", count)
  local pages, causes, one = {}, {}, {}
  for i = 1, 200 do
    local id = host.conn:value("SELECT replace(_id::text, '-', '') FROM fact_step WHERE chain = $1 AND n = $2", math.random(1, CHAINS), math.random(4, LAST))
    pages[i] = "/facts/step?limit=25&before=" .. id
    causes[i] = "/facts/step/" .. id .. "/causes?depth=3"
    one[i] = "/facts/step/" .. id
  end
  local result = {
    facts = count, target_p50_ms = 50, newest = answers_ms(host, many("/facts/step?limit=25")), page = answers_ms(host, pages),
    causes = answers_ms(host, causes), fact = answers_ms(host, one), status = answers_ms(host, many("/status")),
  }
  host:stop()
  return result
end

--- One curl sends all parts, one after the other, over one connection.
local upload = [[cd '%s' && for part in part.*; do
  printf 'next\nurl = %s/facts/edge\ndata-binary = @%%s\nheader = "Content-Type: application/x-ndjson"\noutput = /dev/null\nfail\n' $part
done | sed 1d | curl -s -K -]]

local seed = os.time() % 100000
local coalesced, single, plain_inserts = {}, {}, {}

local function post(host, into)
  seed = seed + 1
  into[#into + 1] = wrk(host:http() .. "/facts/measure", "http_post.lua", CLIENTS, seed)
  bench.say("http: %d POST/s, p99 %.1f ms", into[#into].rate, into[#into].p99)
end

-- Bulk first, while the tables are small and equal.
local host = bench.host("bench/apps/bulk")
local bulk = {}
for i = 1, runs do
  local path, at = host.dir .. "/lines.ndjson", (i - 1) * LINES
  local file = assert(io.open(path, "w"))
  for n = at + 1, at + LINES do
    file:write(('{"from":%d,"to":%d}\n'):format(math.random(0, 2 ^ 31), n))
  end
  file:close()
  bench.run({ "sh", "-c", ("cd '%s' && rm -f part.* && split -C %d lines.ndjson part."):format(host.dir, PART) })
  host.conn:run("CHECKPOINT")
  local start = bench.now()
  bench.run({ "sh", "-c", upload:format(host.dir, host:http()) })
  local took = bench.now() - start
  local count = tonumber(host.conn:value('SELECT count(*) FROM fact_edge WHERE "to" > $1', at))
  assert(count == LINES, ("%d facts are there, wanted %d"):format(count, LINES))

  local raw = host.conn:value("SELECT current_setting('data_directory') || '/bench.raw'")
  host.conn:run(("COPY (SELECT * FROM fact_edge WHERE \"to\" > %d ORDER BY \"to\") TO '%s' (FORMAT binary)"):format(at, raw))
  host.conn:run("CREATE TABLE IF NOT EXISTS raw_edge (LIKE fact_edge INCLUDING ALL)")
  host.conn:run("CHECKPOINT")
  start = bench.now()
  host.conn:run(("COPY raw_edge FROM '%s' (FORMAT binary)"):format(raw))
  local copy = bench.now() - start
  os.remove(raw)
  bench.say("http: bulk %.2f s, COPY %.2f s", took, copy)
  bulk[i] = { rate = LINES / took, ratio = copy / took }
end

local plain = bench.host("bench/apps/bulk", { ["ingest.batch_lines"] = 1 })
for _ = 1, runs do
  post(host, coalesced)
  post(plain, single)
  plain_inserts[#plain_inserts + 1] = inserts(host)
  bench.say("http: %d plain inserts/s", plain_inserts[#plain_inserts])
end
plain:stop()

local status = answers_ms(host, many("/status"))
local page = answers_ms(host, many("/facts/measure?limit=25"))
local all, alone = medians(coalesced), medians(single)
local ratios, rates = {}, {}
for i, one in ipairs(bulk) do
  ratios[i], rates[i] = one.ratio, one.rate
end
local front_mib
for _, service in ipairs(json.decode(host:command("status", "--json")).services or {}) do
  if service.role == "front" then
    front_mib = bench.round(service.rss_bytes / 1048576, 1)
  end
end
local conditions = host:conditions()
host:stop()
bench.print(bench.is_long and "http_long" or "http", {
  value = all.rate, unit = "POST/s", runs = runs, target = 25000, ratio = bench.round(all.rate / alone.rate, 2), ratio_to = "one statement a request",
  clients = CLIENTS, coalesced = all, single = alone,
  inserts = bench.round(bench.median(plain_inserts), 0), ratio_to_inserts = bench.round(all.rate / bench.median(plain_inserts), 2), target_p99_ms = 15, target_ratio = 8,
  bulk = { rate = bench.round(bench.median(rates), 0), ratio = bench.round(bench.median(ratios), 2), target = 0.5 },
  status = status, page_of_facts = page, front_mib = front_mib, conditions = conditions,
  among_many = bench.is_long and among_many() or nil,
})

--- How long does the closure of a random graph of 1,000 nodes and 4,000 edges take, against WITH RECURSIVE on the same server?
local bench = require("bench")

local NODES, EDGES, SEED = 1000, 4000, 1

local function graph()
  local edges, known = {}, {}
  local state = SEED
  local function random(n) -- the same graph everywhere, whatever math.random is
    state = (state * 1103515245 + 12345) % 2147483648
    return math.floor(state / 65536) % n
  end
  while #edges < EDGES do
    local from, to = random(NODES), random(NODES)
    local key = from * NODES + to
    if from ~= to and not known[key] then
      known[key] = true
      edges[#edges + 1] = { from, to }
    end
  end
  return edges
end

--- The cheapest unique ids, measured anew each time: a bigint identity, and the natural key. The columns that say where a
--- fact comes from are there as ours are; "filled" gives them values of our sizes, "empty" leaves them NULL.
local PEERS = {
  identity_empty = { key = "_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,", primary = "", from = "NULL, NULL" },
  natural_empty = { key = "", primary = [[, PRIMARY KEY ("from", "to")]], from = "NULL, NULL" },
  identity_filled = { key = "_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,", primary = "",
    from = "'00000000-0000-0000-0000-000000000001'::uuid, ARRAY['00000000-0000-0000-0000-000000000002'::uuid]" },
}

local function peer(conn, shape)
  conn:run(([[
    DROP TABLE IF EXISTS peer, peer_edge;
    CREATE TABLE peer (%s "from" int8 NOT NULL, "to" int8 NOT NULL, _batch int8 NOT NULL, _data uuid, _friends uuid[]%s);
    CREATE INDEX ON peer ("to");
    CREATE TABLE peer_edge AS SELECT "from", "to" FROM fact_edge;
    CREATE INDEX ON peer_edge ("from");
    ANALYZE peer_edge;
    SET synchronous_commit = off]]):format(shape.key, shape.primary))
  local start = bench.now()
  conn:run(([[
    INSERT INTO peer ("from", "to", _batch, _data, _friends)
    WITH RECURSIVE path ("from", "to") AS (
      SELECT "from", "to" FROM peer_edge
      UNION
      SELECT path."from", edge."to" FROM path JOIN peer_edge edge ON edge."from" = path."to")
    SELECT "from", "to", 1, %s FROM path]]):format(shape.from))
  local took = bench.now() - start
  local count = conn:value("SELECT count(*) FROM peer")
  conn:run("DROP TABLE peer, peer_edge")
  return took, count
end

local function once(edges)
  local host = bench.host("examples/closure")
  local before = host:cpu()
  local start = bench.now()
  local next_edge = 0
  host:ingest("edge", { "from", "to" }, function()
    next_edge = next_edge + 1
    return edges[next_edge]
  end)
  local took = host:wait(start)
  local after = host:cpu()
  local result = {
    seconds = took,
    cpu_workers = after.workers - before.workers,
    cpu_server = after.server - before.server,
    worker_mib = host:worker_mib(),
    paths = host:count("path"),
    conditions = host:conditions(),
    peers = {},
  }
  for name, shape in pairs(PEERS) do
    local count
    before = host:cpu()
    result.peers[name], count = peer(host.conn, shape)
    after = host:cpu()
    result.peer_cpu = math.min(result.peer_cpu or math.huge, after.server - before.server)
    assert(count == result.paths, "the peer finds another number of paths")
  end
  host:stop()
  return result
end

local runs = bench.runs or 5
local edges = graph()
local all, ratios, filled, seconds, cpu_workers, cpu_server, memory, peer_seconds, peer_cpu = {}, {}, {}, {}, {}, {}, {}, {}, {}
for i = 1, runs do
  local r = once(edges)
  local cheapest = math.min(r.peers.identity_empty, r.peers.natural_empty)
  all[i] = r
  seconds[i], cpu_workers[i], cpu_server[i], memory[i] = r.seconds, r.cpu_workers, r.cpu_server, r.worker_mib
  peer_seconds[i], peer_cpu[i] = cheapest, r.peer_cpu
  ratios[i] = r.seconds / cheapest
  filled[i] = r.seconds / r.peers.identity_filled
  bench.say("closure %d/%d: %.2f s, peer %.2f s, ratio %.2f", i, runs, r.seconds, cheapest, ratios[i])
end
bench.print("closure", {
  value = bench.round(bench.median(seconds)), unit = "s", runs = runs, paths = all[1].paths,
  peer = "INSERT … WITH RECURSIVE, cheapest of bigint identity and natural key", peer_value = bench.round(bench.median(peer_seconds)),
  ratio = bench.round(bench.median(ratios), 2), target_ratio = 1.5,
  ratio_provenance_filled = bench.round(bench.median(filled), 2),
  peer_cpu_s = bench.round(bench.median(peer_cpu), 2), cpu_workers_s = bench.round(bench.median(cpu_workers), 2), cpu_server_s = bench.round(bench.median(cpu_server), 2),
  worker_mib = bench.median(memory), target_worker_mib = 64,
  conditions = all[1].conditions,
})

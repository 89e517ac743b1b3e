--- What benches share: a host of its own with a fresh data directory, clocks, and the one JSON line.
local ffi = require("ffi")
local bench = require("accrete.bench")
local db = require("accrete.db")
local json = require("accrete.json")

local M = {}

local accrete = assert(os.getenv("ACCRETE"), "run me by bench/run")
local root = assert(os.getenv("BENCH_ROOT"), "run me by bench/run")
local place = assert(os.getenv("BENCH_DATA"), "run me by bench/run")

M.root = root
M.runs = tonumber(os.getenv("BENCH_RUNS") or "") or nil
M.is_long = os.getenv("BENCH_LONG") == "1"

ffi.cdef([[
struct bench_time { int64_t s, ns; };
int poll(void *, unsigned long, int);
int nanosleep(const struct bench_time *, struct bench_time *);
int getpagesize(void);
]])

--- Seconds of a clock that never jumps.
function M.now()
  return bench.now() / 1e9
end

function M.sleep(seconds)
  ffi.C.nanosleep(ffi.new("struct bench_time", { math.floor(seconds), (seconds % 1) * 1e9 }), nil)
end

function M.say(text, ...)
  io.stderr:write("bench: ", text:format(...), "\n")
end

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- Runs a command; raises when it fails. Returns what it printed.
function M.run(words)
  local list = {}
  for i, word in ipairs(words) do
    list[i] = quote(word)
  end
  local pipe = assert(io.popen(table.concat(list, " ") .. " 2>&1; echo \"status $?\"", "r"))
  local text = pipe:read("*a")
  pipe:close()
  local out, status = text:match("^(.-)status (%d+)\n$")
  if status ~= "0" then
    error(("%s: status %s\n%s"):format(table.concat(words, " "), tostring(status), out or text), 2)
  end
  return out
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

M.median, M.quantile = bench.median, bench.quantile

function M.round(value, digits)
  local scale = 10 ^ (digits or 3)
  return math.floor(value * scale + 0.5) / scale
end

-- Hosts -----------------------------------------------------------------------------------------

local Host = {}
Host.__index = Host
local number = 0

--- Starts an app on a private PostgreSQL in a fresh data directory. options: settings by name.
function M.host(app, options)
  number = number + 1
  local host = setmetatable({ app = app, dir = ("%s/%d-%d"):format(place, os.time(), number), settings = options or {} }, Host)
  M.run({ "mkdir", "-p", "-m", "755", host.dir })
  host:command("run", "--detach")
  host.conn = host:connect()
  return host
end

function Host:command(name, ...)
  local words = { accrete, name, "--app", root .. "/" .. self.app, "--set", "data.dir=" .. self.dir, "--log", "warn" }
  for key, value in pairs(self.settings) do
    words[#words + 1] = "--set"
    words[#words + 1] = key .. "=" .. tostring(value)
  end
  for _, word in ipairs({ ... }) do
    words[#words + 1] = word
  end
  return M.run(words)
end

local function lines_of(path)
  local lines = {}
  for line in (read_file(path) or ""):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

--- A connection that disturbs nobody: nothing it reads is remembered for SERIALIZABLE.
function Host:connect()
  local pid = lines_of(self.dir .. "/pg/postmaster.pid")
  self.postmaster = tonumber(pid[1])
  local conn = db.connect(("host=%s port=%s user=accrete dbname=accrete"):format(pid[5], pid[4]))
  conn:run(("SET search_path = %s; SET default_transaction_isolation = 'read committed'"):format(self.app:match("[^/]+$")))
  return conn
end

--- Where it serves HTTP.
function Host:http()
  if not self.url then
    self.url = "http://" .. json.decode(self:command("status", "--json")).http
  end
  return self.url
end

--- Events that are queued.
function Host:ready()
  self.ready_query = self.ready_query or self.conn:prepare("SELECT coalesce(sum(n), 0)::int8 FROM packet")
  return self.ready_query:value()
end

--- Seconds until nothing is queued, from now; looks 50 times a second.
function Host:wait(from)
  local poll = self.conn:prepare("SELECT EXISTS (SELECT FROM packet)")
  while poll:value() do
    M.sleep(0.02)
  end
  local took = M.now() - from
  self:command("wait", "--quiet") -- raises when events are dead
  return took
end

--- Ingests facts of a kind: rows is a function that gives the next row's values, or nil.
function Host:ingest(kind, fields, rows)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(table.concat(fields, ","), "\n")
  for row in rows do
    file:write(table.concat(row, ","), "\n")
  end
  file:close()
  self:command("ingest", "--quiet", "--format", "csv", kind, path)
  os.remove(path)
end

function Host:count(kind)
  return self.conn:value(("SELECT count(*) FROM fact_%s"):format(kind))
end

local ticks = 100

--- CPU seconds of a process so far; with dead: of its children that have ended, too.
local function cpu_of(pid, dead)
  local fields = {}
  for word in ((read_file("/proc/" .. pid .. "/stat") or ""):match("%) (.*)$") or ""):gmatch("%S+") do
    fields[#fields + 1] = tonumber(word) or 0
  end
  local used = (fields[12] or 0) + (fields[13] or 0)
  return (used + (dead and (fields[14] or 0) + (fields[15] or 0) or 0)) / ticks
end

--- CPU seconds so far of the host's workers and of its database.
function Host:cpu()
  local workers, server = 0, cpu_of(self.postmaster, true)
  for pid in (read_file(("/proc/%d/task/%d/children"):format(self.postmaster, self.postmaster)) or ""):gmatch("%d+") do
    server = server + cpu_of(pid)
  end
  for _, pid in ipairs(self:worker_pids()) do
    workers = workers + cpu_of(pid)
  end
  return { workers = workers, server = server }
end

function Host:worker_pids()
  if not self.pids then
    self.pids = {}
    for _, worker in ipairs(json.decode(self:command("status", "--json")).workers) do
      self.pids[#self.pids + 1] = worker.pid
    end
  end
  return self.pids
end

--- MiB of the largest worker: RSS less its seen-filter, which is bounded by a setting of its own.
function Host:worker_mib()
  local most = 0
  for _, worker in ipairs(json.decode(self:command("status", "--json")).workers) do
    most = math.max(most, (worker.rss_bytes - worker.seen_bytes) / 1048576)
  end
  return M.round(most, 1)
end

function Host:stop()
  self.conn:close()
  self:command("stop")
  M.run({ "rm", "-rf", self.dir })
end

-- The line ----------------------------------------------------------------------------------------

local function cores()
  return tonumber((M.run({ "nproc" })))
end

--- Settings under which figures were taken; asked from the server, not assumed.
function Host:conditions()
  local setting = function(name) return self.conn:value("SELECT current_setting($1)", name) end
  local of_workers = self.conn:query(
    "SELECT DISTINCT role FROM epoch WHERE role = 'worker' AND NOT folded")
  assert(#of_workers == 1, "no worker is registered")
  return {
    cores = cores(),
    workers = #self:worker_pids(),
    isolation = "serializable",
    fsync = setting("fsync"),
    full_page_writes = setting("full_page_writes"),
    synchronous_commit = { server = setting("synchronous_commit"), workers = "off" },
    provenance = "on",
    shared_buffers = setting("shared_buffers"),
    postgresql = setting("server_version"),
    settings = next(self.settings) and self.settings or nil,
  }
end

--- Prints the line of a bench. result: unit, value, values …
function M.print(name, result)
  result.name = name
  result.load_before = tonumber((read_file("/proc/loadavg") or ""):match("^%S+"))
  print(json.encode(result))
end

return M

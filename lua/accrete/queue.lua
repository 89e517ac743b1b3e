--- Named queues of opaque payloads in PostgreSQL, for any job. A job that was pushed is done exactly once as far as the
--- database sees it: the worker that finishes it holds a lease, and done() raises when another one has taken it over.
---
--- A row per job with a lease, not the packets in owned buckets of the events: a job mostly costs far more than its
--- row, any process may take it, and it is delayed, retried and buried one by one. So that takers do not wait for each
--- other take() skips locked rows, in a READ COMMITTED transaction of its own: inside SERIALIZABLE that would abort
--- about once a commit. push() and done() may stand in a transaction of the caller's: then they happen with it or not
--- at all.
local C = require("accrete.db.c")
local log = require("accrete.log")
local errors = require("accrete.error")

local M = {}

local LEASE_S, ATTEMPTS = 60, 5
local FIRST_RETRY_S, LONGEST_RETRY_S = 1, 3600
local FIRST_POLL_S, LONGEST_POLL_S = 0.01, 0.25

--- `ready` is when a job may be taken: later while it is delayed or leased. `turn` counts takes: it is the fence.
local SCHEMA = [[
  CREATE TABLE IF NOT EXISTS accrete_job (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL,
    payload bytea NOT NULL,
    priority int4 NOT NULL DEFAULT 0,
    ready timestamptz NOT NULL,
    born timestamptz NOT NULL DEFAULT now(),
    turn int4 NOT NULL DEFAULT 0,
    attempts int4 NOT NULL DEFAULT 0,
    is_leased bool NOT NULL DEFAULT false,
    died timestamptz,
    error text
  ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
  ALTER TABLE accrete_job ALTER payload SET STORAGE EXTERNAL;
  CREATE INDEX IF NOT EXISTS accrete_job_ready ON accrete_job (queue, priority DESC, ready, id) WHERE died IS NULL;
  CREATE INDEX IF NOT EXISTS accrete_job_dead ON accrete_job (queue, died) WHERE died IS NOT NULL]]

local PUSH = [[
  INSERT INTO accrete_job (queue, payload, priority, ready)
  SELECT $1, payload, priority, clock_timestamp() + delay_s * interval '1 second'
    FROM unnest($2::bytea[], $3::int4[], $4::float8[]) WITH ORDINALITY AS _ (payload, priority, delay_s, place)
   ORDER BY place
  RETURNING id]]

--- Walks from priority to priority, in each along the index as far as jobs are ready: delayed ones cost nothing.
--- (now(), since clock_timestamp() could not bound the index scan.)
--- What has been taken too often without an answer kills its takers: it is buried here instead of being handed out.
local TAKE = [[
  WITH RECURSIVE level (priority) AS (
    (SELECT priority FROM accrete_job WHERE queue = $1 AND died IS NULL ORDER BY priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT priority FROM accrete_job j
             WHERE queue = $1 AND died IS NULL AND j.priority < level.priority ORDER BY j.priority DESC LIMIT 1)
      FROM level WHERE level.priority IS NOT NULL
  )
  UPDATE accrete_job SET
    turn = turn + 1,
    attempts = attempts + (attempts < $4)::int,
    is_leased = attempts < $4,
    ready = CASE WHEN attempts < $4 THEN clock_timestamp() + $3 * interval '1 second' ELSE ready END,
    died = CASE WHEN attempts < $4 THEN NULL ELSE now() END,
    error = CASE WHEN attempts < $4 THEN error
            ELSE 'taken ' || attempts || ' times without an answer; last error: ' || coalesce(error, 'none') END
   WHERE ctid = ANY (ARRAY(
     SELECT job.ctid FROM level CROSS JOIN LATERAL (
       SELECT ctid FROM accrete_job
        WHERE queue = $1 AND died IS NULL AND priority = level.priority AND ready <= now()
        ORDER BY ready, id LIMIT $2 FOR UPDATE SKIP LOCKED) job
     LIMIT $2))
  RETURNING id, payload, priority, attempts, turn, error, died IS NOT NULL AS is_dead]]

--- Raises 22012 unless each job still is as it was taken, so that the transaction cannot commit.
local function fenced(change)
  return "WITH held AS (SELECT * FROM unnest($1::int8[], $2::int4[]) AS _ (id, turn)), changed AS (" .. change
    .. " RETURNING 1) SELECT 1 / (count(*) = cardinality($1::int8[]))::int FROM changed"
end

local DONE = fenced "DELETE FROM accrete_job j USING held WHERE j.id = held.id AND j.turn = held.turn AND j.is_leased"
local EXTEND = fenced [[
  UPDATE accrete_job j SET ready = clock_timestamp() + $3 * interval '1 second'
    FROM held WHERE j.id = held.id AND j.turn = held.turn AND j.is_leased]]
local FAIL = fenced [[
  UPDATE accrete_job j SET is_leased = false, error = $3,
         ready = clock_timestamp() + $4 * interval '1 second', died = CASE WHEN $5 THEN now() END
    FROM held WHERE j.id = held.id AND j.turn = held.turn AND j.is_leased]]

local COUNT = [[
  SELECT count(*) FILTER (WHERE died IS NULL AND ready <= clock_timestamp()) AS ready,
         count(*) FILTER (WHERE died IS NULL AND ready > clock_timestamp() AND NOT is_leased) AS delayed,
         count(*) FILTER (WHERE died IS NULL AND ready > clock_timestamp() AND is_leased) AS taken,
         count(*) FILTER (WHERE died IS NOT NULL) AS dead
    FROM accrete_job WHERE queue = $1]]
local DEAD = [[
  SELECT id, payload, priority, attempts, error, died FROM accrete_job
   WHERE queue = $1 AND died IS NOT NULL AND id > $3 ORDER BY id LIMIT $2]]
local RETRY = [[
  UPDATE accrete_job SET died = NULL, attempts = 0, is_leased = false, ready = clock_timestamp()
   WHERE queue = $1 AND id = $2 AND died IS NOT NULL]]
local DISCARD = "DELETE FROM accrete_job WHERE queue = $1 AND id = $2 AND died IS NOT NULL"

local Queue, Job = {}, {}
Queue.__index, Job.__index = Queue, Job

local function check_number(name, value, low, high)
  if type(value) ~= "number" or not (value >= low and value <= high) then
    errors.raise("input", "queue: %s: wanted a number %g..%g, got %s", name, low, high, tostring(value))
  end
  return value
end

local function check_option(options, name, default, low, high)
  local value = options[name]
  return value == nil and default or check_number(name, value, low, high)
end

--- Runs fn by itself in READ COMMITTED, or inside the transaction that is open.
local function apart(self, fn)
  if self.conn:state() == "idle" then
    return self.conn:transaction(fn, { isolation = "read committed" })
  end
  return fn(self.conn)
end

local function make_table(conn)
  if conn:value("SELECT to_regclass('accrete_job') IS NOT NULL") then
    return
  end
  conn:transaction(function()
    conn:value("SELECT pg_advisory_xact_lock(hashtextextended('accrete_job', 0))") -- two at once would clash
    conn:run(SCHEMA)
  end, { isolation = "read committed" })
end

--- The queue NAME on a connection of accrete.db. Its table accrete_job is made in the connection's schema when missing.
--- options.attempts (5): a job that failed so often is dead.
function M.open(conn, name, options)
  if type(name) ~= "string" or name == "" then
    errors.raise("input", "queue.open: wanted a name, got %s", tostring(name))
  end
  make_table(conn)
  local attempts = check_option(options or {}, "attempts", ATTEMPTS, 1, 1e6)
  return setmetatable({ conn = conn, name = name, attempts = attempts }, Queue)
end

--- Pushes jobs: payloads, or tables { payload =, priority =, delay = }. Returns their ids. All or nothing.
function Queue:push_all(list)
  local payloads, priorities, delays = {}, {}, {}
  for i, job in ipairs(list) do
    job = type(job) == "table" and job or { payload = job }
    if type(job.payload) ~= "string" then
      errors.raise("input", "queue: job %d: wanted a string as payload, got %s", i, type(job.payload))
    end
    payloads[i] = job.payload
    priorities[i] = check_option(job, "priority", 0, -2 ^ 31, 2 ^ 31 - 1)
    delays[i] = check_option(job, "delay", 0, 0, 1e9)
  end
  local ids = {}
  if #payloads == 0 then
    return ids
  end
  for i, row in ipairs(self.conn:query(PUSH, self.name, payloads, priorities, delays)) do
    ids[i] = row.id
  end
  return ids
end

--- Pushes one job; returns its id. Higher options.priority (0) first; options.delay in seconds.
function Queue:push(payload, options)
  options = options or {}
  return self:push_all({ { payload = payload, priority = options.priority, delay = options.delay } })[1]
end

local function take_now(self, n, lease)
  local rows = self.conn:transaction(function(conn)
    return conn:query(TAKE, self.name, n, lease, self.attempts)
  end, { isolation = "read committed" })
  local jobs, buried = {}, 0
  for _, row in ipairs(rows) do
    if row.is_dead then
      buried = buried + 1
      log.warn("job buried", { at = "queue", queue = self.name, id = row.id, error = row.error })
    else
      row.is_dead, row.queue = nil, self
      jobs[#jobs + 1] = setmetatable(row, Job)
    end
  end
  table.sort(jobs, function(a, b)
    if a.priority ~= b.priority then
      return a.priority > b.priority
    end
    return a.id < b.id
  end)
  return jobs, buried
end

--- Takes up to n (1) jobs for options.lease (60) seconds; after that another may take them over. Waits up to
--- options.wait (0) seconds for the first. A job has id, payload, priority, attempts (with this one) and error (of the
--- last one).
function Queue:take(n, options)
  options = options or {}
  n = check_number("jobs", n or 1, 1, 1e5)
  local lease = check_option(options, "lease", LEASE_S, 0.001, 1e6)
  local wait_s, poll_s = check_option(options, "wait", 0, 0, 1e6), FIRST_POLL_S
  if self.conn:state() == "transaction" then
    errors.raise("input", "queue: take() stands outside of transactions: a lease must outlast a rollback")
  end
  while true do
    local jobs, buried = take_now(self, n, lease)
    if #jobs > 0 or (buried == 0 and wait_s <= 0) then
      return jobs
    end
    if buried == 0 then
      C.pause(math.min(poll_s, wait_s))
      wait_s, poll_s = wait_s - poll_s, math.min(2 * poll_s, LONGEST_POLL_S)
    end
  end
end

local function fence(self, jobs, sql, ...)
  if #jobs == 0 then
    return
  end
  local ids, turns = {}, {}
  for i, job in ipairs(jobs) do
    if getmetatable(job) ~= Job or job.queue.name ~= self.name then
      errors.raise("input", "queue: job %d: wanted a job that was taken from queue %s", i, self.name)
    end
    ids[i], turns[i] = job.id, job.turn
  end
  local args, count = { ... }, select("#", ...)
  local ok, err = pcall(apart, self, function(conn)
    conn:value(sql, ids, turns, unpack(args, 1, count))
  end)
  if not ok and errors.is(err) and err.sqlstate == "22012" then
    errors.raise("stale", "queue %s: the lease ran out and another has taken over, or the job is gone: %s", self.name,
      #ids == 1 and "job " .. tostring(ids[1]) or "at least one of " .. #ids .. " jobs")
  elseif not ok then
    error(err, 0)
  end
end

--- The jobs are done and gone. All or nothing: raises an accrete.Error with code "stale" when another has taken over
--- one of them; inside a transaction, with the work itself, nothing of it is committed then.
function Queue:done(jobs)
  fence(self, getmetatable(jobs) == Job and { jobs } or jobs, DONE)
end

function Job:done()
  fence(self.queue, { self }, DONE)
end

--- Keeps the job for so many seconds from now.
function Job:extend(lease)
  fence(self.queue, { self }, EXTEND, check_number("lease", lease, 0.001, 1e6))
end

local function retry_pause(attempts)
  return math.min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ^ (attempts - 1))
end

--- The job failed: it is ready again in options.retry_in seconds (1, 2, 4 ... 3600 by default), or dead after the
--- queue's last attempt. Returns true when it is dead.
function Job:fail(problem, options)
  local pause = check_option(options or {}, "retry_in", retry_pause(self.attempts), 0, 1e9)
  local is_dead = self.attempts >= self.queue.attempts
  fence(self.queue, { self }, FAIL, tostring(problem), pause, is_dead)
  return is_dead
end

--- { ready, delayed, taken, dead }
function Queue:count()
  return self.conn:one(COUNT, self.name)
end

--- The first n (100) dead jobs by id, from behind the id `after`.
function Queue:dead(n, after)
  return self.conn:query(DEAD, self.name, check_number("jobs", n or 100, 1, 1e5), after or 0)
end

--- Makes a dead job ready again with all its attempts. false: no dead job has that id.
function Queue:retry(id)
  local _, count = self.conn:query(RETRY, self.name, id)
  return count == 1
end

--- Takes a dead job away for ever; the reason goes to the log. false: no dead job has that id.
function Queue:discard(id, reason)
  if type(reason) ~= "string" or reason == "" then
    errors.raise("input", "queue: discard wants a reason")
  end
  local _, count = self.conn:query(DISCARD, self.name, id)
  if count == 1 then
    log.info("job discarded", { at = "queue", queue = self.name, id = id, reason = reason })
  end
  return count == 1
end

return M

--- The queue by itself, for any job: accrete lua examples/tools/queue.lua [URL]
--- Shows push, take, done, priorities, delay, retries, dead letters, a lease that runs out, and work that is done
--- exactly once because it is committed together with the job's end. It takes its schema away at the end.
local db = require("accrete.db")
local queue = require("accrete.queue")
local json = require("accrete.json")

local conn = db.connect(arg[1])
conn:run("CREATE SCHEMA IF NOT EXISTS accrete_example; SET search_path = accrete_example")
conn:run("CREATE TABLE IF NOT EXISTS sent (address text)")

local mail = queue.open(conn, "mail", { attempts = 2 })

-- A payload is any string. Higher priority first, then what has been ready for longest.
mail:push(json.encode { to = "anna" })
mail:push(json.encode { to = "bob" }, { priority = 5 })
mail:push(json.encode { to = "carl" }, { delay = 0.5 })
mail:push_all { json.encode { to = "nobody" }, "not even JSON" }
print("pushed:", json.encode(mail:count()))

--- Sends a letter: here it writes a row.
local function send(c, job)
  local letter = json.decode(job.payload)
  if letter.to == "nobody" then
    error("no such address", 0)
  end
  c:query("INSERT INTO sent VALUES ($1)", letter.to)
  print("sent to " .. letter.to, "attempt " .. job.attempts)
end

-- A worker. Any number of them may run, on any machine: each job goes to one of them for 30 seconds. The work and the
-- job's end are one transaction; when the lease has run out and somebody else has taken over, done() raises and the
-- work is rolled back with it.
local deadline = os.time() + 10
while true do
  local count = mail:count()
  if count.ready + count.delayed + count.taken == 0 or os.time() > deadline then
    break
  end
  for _, job in ipairs(mail:take(10, { lease = 30, wait = 1 })) do
    local ok, err = pcall(conn.transaction, conn, function(c)
      send(c, job)
      job:done()
    end)
    if not ok and job:fail(err, { retry_in = 0.1 }) then
      print("given up", job.id, tostring(err))
    end
  end
end

-- What failed too often waits for a person: to be tried again, or discarded for a reason.
for _, job in ipairs(mail:dead()) do
  print("dead:", job.id, job.payload, job.error)
  mail:discard(job.id, "an example")
end

-- A lease that is too short: the second worker takes over, the first one's end is refused.
mail:push("slow")
local first = mail:take(1, { lease = 0.01 })[1]
local second = mail:take(1, { wait = 5 })[1]
print("too late:", select(2, pcall(first.done, first)))
second:done()

print("at the end:", json.encode(mail:count()), conn:value("SELECT count(*) FROM sent") .. " sent")
conn:run("DROP SCHEMA accrete_example CASCADE")

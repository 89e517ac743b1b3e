local queue = require("accrete.queue")
local fixture = dofile("tests/lua/host/fixture.lua")

describe("queue", function()
  local schema, conn, mail

  before_each(function()
    schema = fixture.schema()
    conn = schema.connect()
    mail = queue.open(conn, "mail")
  end)

  after_each(function()
    schema.drop()
  end)

  local function payloads(jobs)
    local list = {}
    for i, job in ipairs(jobs) do
      list[i] = job.payload
    end
    return list
  end

  it("gives back the bytes that were pushed, once", function()
    local id = mail:push("a\0\255")
    local jobs = mail:take(10)
    assert.equal(1, #jobs)
    assert.same({ id, "a\0\255", 1 }, { jobs[1].id, jobs[1].payload, jobs[1].attempts })
    assert.equal(0, #mail:take(10))
    jobs[1]:done()
    assert.same({ ready = 0, delayed = 0, taken = 0, dead = 0 }, mail:count())
  end)

  it("hands out higher priority first, then what waited longest", function()
    mail:push_all { "a", "b", { payload = "urgent", priority = 5 }, { payload = "some day", priority = -5 }, "c" }
    assert.same({ "urgent", "a" }, payloads(mail:take(2)))
    assert.same({ "b", "c", "some day" }, payloads(mail:take(10)))
  end)

  it("keeps queues apart", function()
    local other = queue.open(conn, "other")
    mail:push("m")
    other:push("o")
    assert.same({ "o" }, payloads(other:take(5)))
    assert.has_error(function() mail:done(other:take(1)) mail:done({ {} }) end)
    assert.same({ "m" }, payloads(mail:take(5)))
  end)

  it("holds delayed jobs back until their time", function()
    mail:push("later", { delay = 0.2 })
    assert.equal(0, #mail:take(1))
    assert.equal(1, mail:count().delayed)
    assert.same({ "later" }, payloads(mail:take(1, { wait = 10 })))
  end)

  it("lets another take over when the lease runs out, and fences the first", function()
    local other = queue.open(schema.connect(), "mail")
    mail:push("a")
    local first = mail:take(1, { lease = 0.05 })[1]
    local second = other:take(1, { wait = 10 })[1]
    assert.equal(2, second.attempts)
    assert.equal("stale", fixture.error_of(first.done, first).code)
    assert.equal("stale", fixture.error_of(first.fail, first, "x").code)
    assert.equal("stale", fixture.error_of(first.extend, first, 5).code)
    second:done()
    assert.equal("stale", fixture.error_of(second.done, second).code)
  end)

  it("lets a late worker finish when nobody has taken over", function()
    mail:push("a")
    local job = mail:take(1, { lease = 0.001 })[1]
    conn:query("SELECT pg_sleep(0.01)")
    job:done()
    assert.same({ ready = 0, delayed = 0, taken = 0, dead = 0 }, mail:count())
  end)

  it("does many jobs or none of them", function()
    mail:push_all { "a", "b", "c" }
    local jobs = mail:take(3)
    jobs[2]:done()
    assert.equal("stale", fixture.error_of(mail.done, mail, jobs).code)
    assert.equal(2, mail:count().taken)
    mail:done({ jobs[1], jobs[3] })
    mail:done({})
    assert.equal(0, mail:count().taken)
  end)

  it("keeps a job that is extended", function()
    mail:push("a")
    local job = mail:take(1, { lease = 0.05 })[1]
    job:extend(60)
    conn:query("SELECT pg_sleep(0.1)")
    assert.equal(0, #mail:take(1))
    job:done()
  end)

  it("retries what failed and buries it after the last attempt", function()
    local twice = queue.open(conn, "mail", { attempts = 2 })
    local id = twice:push("a")
    assert.is_false(twice:take(1)[1]:fail("first", { retry_in = 0 }))
    local job = twice:take(1)[1]
    assert.same({ 2, "first" }, { job.attempts, job.error })
    assert.is_true(job:fail("second"))
    assert.equal(0, #twice:take(1))
    local dead = twice:dead()
    assert.same({ id, "a", "second" }, { dead[1].id, dead[1].payload, dead[1].error })
    assert.equal(0, #twice:dead(10, id))
    assert.is_true(twice:retry(id))
    assert.is_false(twice:retry(id))
    assert.equal(1, twice:take(1)[1].attempts)
  end)

  it("waits longer after each failure", function()
    mail:push("a")
    mail:take(1)[1]:fail("x")
    local wait_s = conn:value("SELECT extract(epoch FROM ready - clock_timestamp())::float8 FROM accrete_job")
    assert(wait_s > 0.5 and wait_s <= 1)
  end)

  it("buries a job that kills its takers", function()
    local twice = queue.open(conn, "mail", { attempts = 2 })
    twice:push("poison")
    twice:take(1, { lease = 0.001 })
    twice:take(1, { lease = 0.001, wait = 5 })
    conn:query("SELECT pg_sleep(0.01)")
    assert.equal(0, #twice:take(1))
    assert.truthy(twice:dead()[1].error:find("taken 2 times without an answer"))
  end)

  it("discards a dead job for a reason", function()
    local once = queue.open(conn, "mail", { attempts = 1 })
    local id = once:push("a")
    assert.is_false(once:discard(id, "still alive"))
    once:take(1)[1]:fail("x")
    assert.has_error(function() once:discard(id) end)
    assert.is_true(once:discard(id, "wrong address"))
    assert.equal(0, once:count().dead)
  end)

  it("pushes and finishes with a transaction or not at all", function()
    conn:run("CREATE TABLE sent (n int8)")
    mail:push("a")
    local job = mail:take(1)[1]
    pcall(conn.transaction, conn, function()
      mail:push("never")
      job:done()
      error("changed my mind")
    end)
    assert.same({ ready = 0, delayed = 0, taken = 1, dead = 0 }, mail:count())
    conn:transaction(function()
      conn:query("INSERT INTO sent VALUES (1)")
      mail:push("then")
      job:done()
    end)
    assert.same({ ready = 1, delayed = 0, taken = 0, dead = 0 }, mail:count())
    assert.equal("stale", fixture.error_of(conn.transaction, conn, function()
      conn:query("INSERT INTO sent VALUES (2)")
      job:done()
    end).code)
    assert.equal(1, conn:value("SELECT count(*) FROM sent"))
    assert.has_error(function()
      conn:transaction(function() mail:take(1) end)
    end)
  end)

  it("is done exactly once by many takers with leases that are too short", function()
    local takers = {}
    for i = 1, 4 do
      takers[i] = queue.open(schema.connect(), "mail", { attempts = 1e6 })
    end
    local all = {}
    for i = 1, 200 do
      all[i] = tostring(i)
    end
    mail:push_all(all)
    local done, held, stale, count = {}, {}, 0, 0
    math.randomseed(17)
    local deadline = os.time() + 60
    while count < #all do
      assert(os.time() < deadline, "not done in time")
      local i = math.random(#takers)
      if held[i] and #held[i] > 0 then
        local job = table.remove(held[i])
        local ok, err = pcall(job.done, job)
        if ok then
          assert.is_nil(done[job.payload])
          done[job.payload], count = true, count + 1
        else
          assert.equal("stale", err.code)
          stale = stale + 1
        end
      else
        held[i] = takers[i]:take(math.random(20), { lease = 0.005 })
      end
    end
    assert(stale > 0)
    assert.same({ ready = 0, delayed = 0, taken = 0, dead = 0 }, mail:count())
  end)

  it("opens at once from many connections", function()
    local again = queue.open(schema.connect(), "mail")
    again:push("x")
    assert.same({ "x" }, payloads(mail:take(1)))
  end)

  it("refuses options that make no sense", function()
    assert.has_error(function() queue.open(conn, "") end)
    assert.has_error(function() mail:push({}) end)
    assert.has_error(function() mail:push("x", { delay = -1 }) end)
    assert.has_error(function() mail:push("x", { priority = "high" }) end)
    assert.has_error(function() mail:take(0) end)
    assert.has_error(function() mail:take(1, { lease = 0 }) end)
  end)
end)

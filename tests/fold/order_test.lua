--- Order never matters: events one by one in any order, each reading a snapshot as old as it may be, each
--- find committed at some later time of its own. And each find follows from its data and friends alone.
local host = require("host")
local reference = require("reference")
local texts = require("texts")

local long = os.getenv("FOLD_LONG") == "1"
local seed = tonumber(os.getenv("FOLD_SEED") or 1)
host.load()

--- Runs a text to its fixpoint.
---@param how { snapshot: "oldest"|"newest"|"any", commit: "late"|"at once", order: "any"|"first"|"last" }
---@param without string? a lifecycle that is left out
local function simulate(books, how, without)
  local facts, tasks, why = host.facts(), {}, {}
  local function commit(kind, values)
    local row = facts:commit(kind, values)
    for _, event in ipairs(row and host.events(row) or {}) do
      if event.lifecycle.name ~= without then
        tasks[#tasks + 1] = event
      end
    end
  end
  for i, body in ipairs(books) do
    tasks[#tasks + 1] = { kind = host.kinds.book, values = { "book " .. i, body } }
  end

  while #tasks > 0 do
    local at = how.order == "last" and #tasks or how.order == "first" and 1 or math.random(#tasks)
    local task = tasks[at]
    if how.order == "first" then
      table.remove(tasks, 1)
    else
      tasks[at] = tasks[#tasks]
      tasks[#tasks] = nil
    end
    if task.kind then
      commit(task.kind, task.values)
    else
      local now = facts:count("sentence")
      local oldest = task.row._sentences
      local limit = how.snapshot == "newest" and now or how.snapshot == "oldest" and oldest or math.random(oldest, now)
      local found = {}
      host.run(task.lifecycle, task.row, facts:view(limit), function(kind, values, friends)
        found[#found + 1] = { kind = kind, values = values }
        for _, friend in ipairs(friends) do
          assert(friend._kind == "sentence" and facts.known[friend._key], "a friend that is no fact")
        end
        local key = kind.name .. "\0" .. table.concat(values, "\0")
        why[key] = why[key] or { task = task, friends = friends }
      end)
      for _, find in ipairs(found) do
        if how.commit == "late" then
          tasks[#tasks + 1] = find
        else
          commit(find.kind, find.values)
        end
      end
    end
  end
  return facts, why
end

--- Finds each fact again from its data and friends, in a database that holds nothing else.
local function explain(why)
  local count = 0
  for key, reason in pairs(why) do
    local facts, again = host.facts(), false
    for _, friend in ipairs(reason.friends) do
      facts:commit(host.kinds.sentence, friend._values)
    end
    host.run(reason.task.lifecycle, reason.task.row, facts:view(), function(kind, values)
      again = again or kind.name .. "\0" .. table.concat(values, "\0") == key
    end)
    assert(again, "not found again: " .. key:gsub("%z", " "))
    count = count + 1
  end
  return count
end

local ways = {}
for _, snapshot in ipairs({ "oldest", "newest", "any" }) do
  for _, commit in ipairs({ "late", "at once" }) do
    for _, order in ipairs({ "any", "first", "last" }) do
      ways[#ways + 1] = { snapshot = snapshot, commit = commit, order = order }
    end
  end
end

--- One sentence a book, or several.
local function books_of(text)
  local books, rest = {}, {}
  for _, sentence in ipairs(text) do
    rest[#rest + 1] = sentence
    if math.random() < 0.7 then
      books[#books + 1], rest = host.book(rest), {}
    end
  end
  if #rest > 0 then
    books[#books + 1] = host.book(rest)
  end
  return books
end

local runs, found = 0, 0
local count = long and 20000 or 2000
for i = 1, count do
  math.randomseed(seed * 1000003 + i)
  local text = texts.random()
  local set = reference.by_definition(text, 200)
  if set then
    local wanted = reference.dump(set)
    for _ = 1, 3 do
      local how = ways[math.random(#ways)]
      local facts, why = simulate(books_of(texts.shuffle(text)), how)
      assert(host.dump(facts) == wanted, ("text %d of seed %d: an ortho is lost"):format(i, seed))
      runs = runs + 1
      if i % 5 == 0 then
        found = found + explain(why)
      end
    end
  end
end
print(("ok: %d runs of %d texts end the same (seed %d)"):format(runs, count, seed))
print(("ok: %d finds follow from their data and friends alone"):format(found))

-- Grids and the named scenarios, in every way.
local cases = {}
for _, sizes in ipairs({ { 4, 4 }, { 3, 3, 2 }, { 2, 2, 2, 2 } }) do
  cases[#cases + 1] = host.book(texts.grid(sizes))
end
for _, scenario in ipairs(texts.scenarios) do
  cases[#cases + 1] = table.concat(scenario[2], ". ")
end
local fold = require("fold")
for _, body in ipairs(cases) do
  local wanted = host.dump(host.close({ body }))
  for _, how in ipairs(ways) do
    local books = texts.shuffle(fold.sentences(body))
    local facts, why = simulate(books, how)
    assert(host.dump(facts) == wanted, "an ortho is lost: " .. body)
    explain(why)
  end
end
print(("ok: %d grids and scenarios in %d ways end the same"):format(#cases, #ways))

-- The test can fail: without any one of the lifecycles that find orthos, some order loses one.
for _, lifecycle in ipairs(host.lifecycles) do
  if lifecycle.finds[1] == "ortho" then
    local lost
    for i = 1, 2000 do
      math.randomseed(i)
      local text = texts.random()
      local books, how = books_of(text), ways[math.random(#ways)]
      if host.dump(simulate(books, how, lifecycle.name)) ~= host.dump(host.close(books)) then
        lost = i
        break
      end
    end
    assert(lost, lifecycle.name .. " is not needed")
  end
end
print("ok: without any one lifecycle some order loses an ortho")

--- Stands in for the host: runs the example's real lifecycles over facts in memory. Slow, plain and
--- merciless about order: the caller chooses which event is next, how old a snapshot it reads, and when
--- each of its finds is committed.
local ffi = require("ffi")

local M = { settings = {} }

local root = assert(os.getenv("FOLD"), "FOLD: wanted the folder of the example")
package.path = root .. "/lua/?.lua;" .. package.path

local library
package.preload["accrete.settings"] = function() return M.settings end
package.preload["accrete.native"] = function()
  return {
    load = function()
      if not library then
        local file = assert(io.open(root .. "/native/fold.h"))
        ffi.cdef(file:read("*a"):match("/%* ffi:begin %*/(.-)/%* ffi:end %*/"))
        file:close()
        library = ffi.load(assert(os.getenv("FOLD_LIBRARY"), "FOLD_LIBRARY: wanted the compiled library"))
      end
      return library
    end,
  }
end

--- Loads the example anew with other settings.
function M.load(settings)
  M.settings = settings or {}
  package.loaded["fold"], package.loaded["accrete.settings"] = nil, nil
  M.kinds, M.lifecycles = {}, {}
  for _, name in ipairs({ "book", "sentence", "word", "pair", "phrase", "ortho" }) do
    local kind = dofile(root .. "/kinds/" .. name .. ".lua")
    kind.name, kind.place = name, {}
    for i, field in ipairs(kind.fields) do
      kind.place[field[1]] = i
    end
    M.kinds[name] = kind
  end
  for path in io.popen("ls " .. root .. "/lifecycles/*.lua"):lines() do
    local lifecycle = dofile(path)
    lifecycle.name = path:match("([%w_]+)%.lua$")
    table.insert(M.lifecycles, lifecycle)
  end
  return require("fold")
end

-- Rows: the first `limit` facts of a list, by a number that never changes.
local Rows = {}
Rows.__index = Rows
function Rows:count() return self.limit or #self.list end
function Rows:get(i)
  assert(i >= 1 and i <= self:count(), "no such row")
  return self.list[i]
end
function Rows:each()
  local i = 0
  return function()
    i = i + 1
    if i <= self:count() then
      return i, self.list[i]
    end
  end
end

local Facts = {}
Facts.__index = Facts

--- An empty database.
function M.facts()
  local facts = setmetatable({ rows = {}, mirrors = {}, known = {} }, Facts)
  for name in pairs(M.kinds) do
    facts.rows[name] = {}
    facts.mirrors[name] = setmetatable({ list = facts.rows[name] }, Rows)
  end
  return facts
end

local function identity(kind, values)
  local parts = { kind.name }
  for _, name in ipairs(kind.unique or {}) do
    parts[#parts + 1] = values[kind.place[name]]
  end
  if not kind.unique then
    for i = 1, #kind.fields do
      parts[#parts + 1] = values[i]
    end
  end
  return table.concat(parts, "\0")
end

-- One id for one content, in every database.
local addresses, address_count = {}, 0
local function address(content)
  if not addresses[content] then
    address_count = address_count + 1
    addresses[content] = ("%016d"):format(address_count)
  end
  return addresses[content]
end

--- Commits a fact; nil if it was there. A repeat must not differ in what is not unique.
function Facts:commit(kind, values)
  local id = identity(kind, values)
  local known = self.known[id]
  if known then
    for i, field in ipairs(kind.fields) do
      assert(known[field[1]] == values[i], "a contradiction")
    end
    return nil
  end
  local row = { _kind = kind.name, _values = values, _key = id }
  for i, field in ipairs(kind.fields) do
    assert(type(values[i]) == "string", kind.name .. "." .. field[1] .. ": wanted a text")
    row[field[1]] = values[i]
  end
  row._id = address(id)
  row._sentences = #self.rows.sentence + (kind.name == "sentence" and 1 or 0) -- then known
  self.known[id] = row
  table.insert(self.rows[kind.name], row)
  return row
end

function Facts:count(kind) return #self.rows[kind] end

--- What a lifecycle sees: sentences up to `limit` (nil: all).
function Facts:view(limit)
  return setmetatable({}, {
    __index = function(_, name)
      assert(name == "sentence", "a look-up that is not declared")
      return {
        where = function(_, fields)
          assert(next(fields) == nil, "a look-up that is not declared")
          return limit and setmetatable({ list = self.rows.sentence, limit = limit }, Rows) or self.mirrors.sentence
        end,
      }
    end,
  })
end

--- Runs one event; calls find(kind, values, friends) for each find.
function M.run(lifecycle, row, view, find)
  if lifecycle.abort_early and lifecycle.abort_early(row) then
    return "early"
  end
  local found = setmetatable({}, {
    __index = function(_, name)
      local kind = assert(M.kinds[name])
      return function(friends, ...)
        assert(select("#", ...) == #kind.fields, "fields of " .. name)
        find(kind, { ... }, friends or {})
      end
    end,
  })
  if lifecycle.load_friends then
    local friends = lifecycle.load_friends(view, row)
    if lifecycle.abort_late and lifecycle.abort_late(row, friends) then
      return "late"
    end
    lifecycle.process_data(row, friends, found)
  else
    lifecycle.process_data(row, found)
  end
end

--- All lifecycles that react to a fact.
function M.events(row)
  local events = {}
  for _, lifecycle in ipairs(M.lifecycles) do
    if lifecycle.on == row._kind then
      events[#events + 1] = { lifecycle = lifecycle, row = row }
    end
  end
  return events
end

--- A run to the fixpoint by priority, then age, each event seeing all that is committed.
function M.close(books)
  local facts, queues, priorities = M.facts(), {}, {}
  local tally = { events = 0, finds = 0 }
  for _, lifecycle in ipairs(M.lifecycles) do
    if not queues[lifecycle.priority] then
      queues[lifecycle.priority] = { first = 1, last = 0 }
      table.insert(priorities, lifecycle.priority)
    end
    tally[lifecycle.name] = { events = 0, finds = 0, seconds = 0 }
  end
  table.sort(priorities, function(a, b) return a > b end)
  local view = facts:view()
  local function commit(kind, values)
    local row = facts:commit(kind, values)
    for _, event in ipairs(row and M.events(row) or {}) do
      local queue = queues[event.lifecycle.priority]
      queue.last = queue.last + 1
      queue[queue.last] = event
    end
  end
  for i, body in ipairs(books) do
    commit(M.kinds.book, { "book " .. i, body })
  end

  local found = {}
  local function find(kind, values) found[#found + 1] = { kind, values } end
  local function take()
    for _, priority in ipairs(priorities) do
      local queue = queues[priority]
      local event = queue[queue.first]
      if event then
        queue[queue.first] = nil
        queue.first = queue.first + 1
        return event
      end
    end
  end
  for event in take do
    local of = tally[event.lifecycle.name]
    local start = os.clock()
    M.run(event.lifecycle, event.row, view, find)
    of.seconds = of.seconds + os.clock() - start
    of.events, of.finds = of.events + 1, of.finds + #found
    for i = 1, #found do
      commit(found[i][1], found[i][2])
      found[i] = nil
    end
  end
  return facts, tally
end

--- Text of a book from sentences as lists of words.
function M.book(sentences)
  local list = {}
  for i, words in ipairs(sentences) do
    list[i] = table.concat(words, " ")
  end
  return table.concat(list, ". ") .. "."
end

--- The canonical dump of the orthos, by the example's own means.
function M.dump(facts)
  local ortho, lines = require("ortho"), {}
  for _, row in ipairs(facts.rows.ortho) do
    lines[#lines + 1] = ortho.line(row)
  end
  return ortho.dump(lines), #lines
end

--- SHA-256 in hex.
function M.digest(text)
  local name = os.tmpname()
  local file = assert(io.open(name, "wb"))
  file:write(text)
  file:close()
  local pipe = io.popen("sha256sum < " .. name)
  local digest = pipe:read("*l"):match("^%x+")
  pipe:close()
  os.remove(name)
  return digest
end

return M

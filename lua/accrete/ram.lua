--- Bounded caches for what can be made again. Everything is O(1); what has not been used for longest goes first.
local M = {}

local ENTRY_BYTES = 96 -- what an entry costs besides its key and value, roughly

local Cache = {}
Cache.__index = Cache

local function check_bound(options, name)
  local bound = options[name]
  if bound ~= nil and (type(bound) ~= "number" or bound < 1) then
    error(("ram.cache: %s: wanted a number from 1 on, got %s"):format(name, tostring(bound)), 3)
  end
  return bound or math.huge
end

--- ram.cache { entries = 1000 } or { bytes = 2^20 } or both.
function M.cache(options)
  local entries, bytes = check_bound(options, "entries"), check_bound(options, "bytes")
  if entries == math.huge and bytes == math.huge then
    error("ram.cache: wanted entries or bytes: a cache without a bound is a leak", 2)
  end
  local cache = setmetatable({ max_entries = entries, max_bytes = bytes, hits = 0, misses = 0, evicted = 0 }, Cache)
  cache:clear()
  return cache
end

--- Forgets everything; hits and misses go on counting.
function Cache:clear()
  local ring = {} -- the entries in a ring: ring.next was used last, ring.previous longest ago
  ring.next, ring.previous = ring, ring
  self.ring, self.by_key, self.entries, self.bytes = ring, {}, 0, 0
end

local function unlink(entry)
  entry.previous.next, entry.next.previous = entry.next, entry.previous
end

local function link_first(ring, entry)
  entry.previous, entry.next = ring, ring.next
  ring.next.previous, ring.next = entry, entry
end

local function forget(self, entry)
  unlink(entry)
  self.by_key[entry.key] = nil
  self.entries, self.bytes = self.entries - 1, self.bytes - entry.bytes
end

local function bytes_of(value)
  return type(value) == "string" and #value or 16
end

--- The value, or nil; counts a hit or a miss.
function Cache:get(key)
  local entry = self.by_key[key]
  if not entry then
    self.misses = self.misses + 1
    return nil
  end
  self.hits = self.hits + 1
  if self.ring.next ~= entry then
    unlink(entry)
    link_first(self.ring, entry)
  end
  return entry.value
end

--- Whether key is there. Neither counts nor uses it.
function Cache:has(key)
  return self.by_key[key] ~= nil
end

--- Puts a value in; nil takes it out. bytes is what the value costs: a string's length by default, 16 for anything
--- else, so say it for tables when the cache is bounded by bytes. A value larger than the whole cache is not kept.
function Cache:set(key, value, bytes)
  local kind = type(key)
  if kind ~= "string" and kind ~= "number" then
    error("ram: wanted a string or a number as key, got " .. kind, 2)
  end
  local old = self.by_key[key]
  if old then
    forget(self, old)
  end
  local cost = ENTRY_BYTES + bytes_of(key) + (bytes or bytes_of(value))
  if value == nil or cost > self.max_bytes then
    return
  end
  while self.entries >= self.max_entries or self.bytes + cost > self.max_bytes do
    forget(self, self.ring.previous)
    self.evicted = self.evicted + 1
  end
  local entry = { key = key, value = value, bytes = cost }
  link_first(self.ring, entry)
  self.by_key[key] = entry
  self.entries, self.bytes = self.entries + 1, self.bytes + cost
end

--- The value, made by make(key) and kept when it is not there.
function Cache:fetch(key, make)
  local value = self:get(key)
  if value == nil then
    value = make(key)
    self:set(key, value)
  end
  return value
end

--- { hits, misses, evicted, entries, bytes }
function Cache:stats()
  return {
    hits = self.hits,
    misses = self.misses,
    evicted = self.evicted,
    entries = self.entries,
    bytes = self.bytes,
  }
end

return M

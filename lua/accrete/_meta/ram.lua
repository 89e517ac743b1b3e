---@meta accrete.ram
-- luacheck: ignore 211 212 221 241

---@class accrete.Cache
---@field entries integer
---@field bytes number
---@field hits integer
---@field misses integer
---@field evicted integer
local Cache = {}

---@param key string|number
---@return any value or nil
function Cache:get(key) end

---@param key string|number
---@return boolean
function Cache:has(key) end

---@param key string|number
---@param value any nil takes it out
---@param bytes? number what it costs; a string's length, else 16
function Cache:set(key, value, bytes) end

---@generic K, V
---@param key K
---@param make fun(key: K): V
---@return V
function Cache:fetch(key, make) end

function Cache:clear() end

---@return { hits: integer, misses: integer, evicted: integer, entries: integer, bytes: number }
function Cache:stats() end

local M = {}

---@param options { entries?: integer, bytes?: number } at least one
---@return accrete.Cache
function M.cache(options) end

return M

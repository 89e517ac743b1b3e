---@meta accrete.json
-- luacheck: ignore 211 212 221 241

local M = {}

---@type lightuserdata
M.null = nil

--- Raises "input" with line and column. Integers beyond 2^53 are int64 cdata.
---@param text string
---@return any
function M.decode(text) end

--- Sorted keys, shortest numbers. Raises "input" for what JSON cannot say.
---@param value any
---@param options? { indent?: integer }
---@return string
function M.encode(value, options) end

--- Marks a table as a list: [] even when empty.
---@param list? table
---@return table
function M.array(list) end

---@param value any
---@return boolean
function M.is_array(value) end

return M

---@meta accrete.yaml
-- luacheck: ignore 211 212 221 241

local M = {}

---@type lightuserdata
M.null = nil

--- Raises "input" with line and column, "limit" when nested too deep or when aliases make too much.
---@param text string
---@return any yaml.null for an empty text
function M.parse(text) end

--- The values of all documents.
---@param text string
---@return any[]
function M.parse_all(text) end

--- Two blanks a level, sorted keys, quotes where needed. Raises "input" for what YAML cannot say.
---@param value any
---@return string
function M.format(value) end

--- Marks a table as a list: [] even when empty.
---@param list? table
---@return table
function M.array(list) end

return M

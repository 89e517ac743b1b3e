---@meta accrete.settings

--- `settings:` of the app's accrete.yaml.
---@type table<string, string>
local settings = {}

return settings

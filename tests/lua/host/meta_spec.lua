--- lua/accrete/_meta describes all that an app may require.
local text_of = function(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local modules = {}
for path in io.popen("ls lua/accrete/*.lua"):lines() do
  modules[#modules + 1] = path:match("([%w_]+)%.lua$")
end

describe("annotations", function()
  for _, name in ipairs(modules) do
    it("name every function of accrete." .. name, function()
      local meta = text_of("lua/accrete/_meta/" .. name .. ".lua")
      assert.truthy(meta:find("%-%-%-@meta accrete%." .. name .. "\n"))
      if name ~= "settings" then
        for key in pairs(require("accrete." .. name)) do
          assert.truthy(meta:find("M." .. key .. "%f[^%w_]"), name .. "." .. key .. " is not described")
        end
      end
    end)

    it("name the methods of accrete." .. name, function()
      local meta = text_of("lua/accrete/_meta/" .. name .. ".lua")
      for class, method in text_of("lua/accrete/" .. name .. ".lua"):gmatch("\nfunction (%u%w+):([%w_]+)") do
        assert.truthy(meta:find("function " .. class .. ":" .. method .. "%f[^%w_]"), class .. ":" .. method)
      end
    end)

    it("of accrete." .. name .. " are Lua", function()
      assert(loadstring(text_of("lua/accrete/_meta/" .. name .. ".lua")))
    end)
  end
end)

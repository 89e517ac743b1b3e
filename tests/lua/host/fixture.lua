--- A schema of its own for a spec on the server of ACCRETE_TEST_URL, and connections to it.
local db = require("accrete.db")

local M = {}

local made = 0

--- { connect = function() -> connection, drop = function() }. drop fails when a connection is in a transaction.
function M.schema()
  local url = assert(os.getenv("ACCRETE_TEST_URL"), "ACCRETE_TEST_URL: wanted the libpq URL of a test cluster")
  local admin = db.connect(url)
  made = made + 1
  local name = ("lua_%d_%d"):format(admin:value("SELECT pg_backend_pid()"), made)
  local open = {}
  admin:run("CREATE SCHEMA " .. name)

  local schema = { name = name }
  function schema.connect()
    open[#open + 1] = db.connect(url, { schema = name })
    return open[#open]
  end
  function schema.drop()
    for _, connection in ipairs(open) do
      local state = connection:state()
      assert(state == "idle" or state == "closed", "a test left a connection in state " .. state)
      connection:close()
    end
    admin:run("DROP SCHEMA " .. name .. " CASCADE")
    admin:close()
  end
  return schema
end

--- The error that fn(...) raises; fails when it raises none.
function M.error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok, "wanted an error")
  return err
end

return M

--- A new edge is a path, and extends each path that ends where it starts.
local M = { on = "edge", friends = { path = { { "to" } } }, finds = { "path" }, monotone = true }

---@param db accrete.Batch
---@param edge closure.Edge
function M.load_friends(db, edge)
  return db.path:where({ to = edge.from })
end

---@param edge closure.Edge
---@param paths accrete.Rows<closure.Path>
---@param found accrete.Found
function M.process_data(edge, paths, found)
  found.path(nil, edge.from, edge.to)
  for _, path in paths:each() do
    found.path(path, path.from, edge.to)
  end
end

M.examples = {
  hit = {
    data = { from = 2, to = 3 },
    friends = { { { from = 1, to = 2 } } },
    found = { path = { { 2, 3 }, { 1, 3 } } },
  },
  miss = { data = { from = 2, to = 3 }, friends = { {} }, found = { path = { { 2, 3 } } } },
}

return M

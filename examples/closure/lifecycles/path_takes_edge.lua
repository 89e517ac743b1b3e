--- A new path is extended by each edge that starts where it ends.
local M = { on = "path", friends = { edge = { { "from" } } }, finds = { "path" }, monotone = true }

---@param db accrete.Batch
---@param path closure.Path
function M.load_friends(db, path)
  return db.edge:where({ from = path.to })
end

---@param path closure.Path
---@param edges accrete.Rows<closure.Edge>
---@param found accrete.Found
function M.process_data(path, edges, found)
  for _, edge in edges:each() do
    found.path(edge, path.from, edge.to)
  end
end

M.examples = {
  hit = { data = { from = 1, to = 2 }, friends = { { { from = 2, to = 3 } } }, found = { path = { { 1, 3 } } } },
  miss = { data = { from = 1, to = 2 }, friends = { {} }, found = {} },
}

return M

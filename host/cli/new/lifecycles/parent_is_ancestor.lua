--- A new parent is an ancestor of the child, and of everybody whose ancestor the child is.
local M = { on = "parent", friends = { ancestor = { { "elder" } } }, finds = { "ancestor" }, monotone = true }

--- The facts that the new one must be seen together with. The host makes one query of a thousand.
---@param db accrete.Batch
---@param parent @APP@.Parent
function M.load_friends(db, parent)
  return db.ancestor:where({ elder = parent.child })
end

--- Pure: no database, no clock, no chance. A find names the facts it rests on, then its fields in order.
---@param parent @APP@.Parent
---@param below accrete.Rows<@APP@.Ancestor>
---@param found accrete.Found
function M.process_data(parent, below, found)
  found.ancestor(nil, parent.parent, parent.child)
  for _, ancestor in below:each() do
    found.ancestor(ancestor, parent.parent, ancestor.younger)
  end
end

--- For accrete check: friends are lists of rows, one for each value that load_friends returns.
M.examples = {
  hit = {
    data = { parent = "Ada", child = "Ben" },
    friends = { { { elder = "Ben", younger = "Cleo" } } },
    found = { ancestor = { { "Ada", "Ben" }, { "Ada", "Cleo" } } },
  },
  miss = {
    data = { parent = "Ada", child = "Ben" },
    friends = { {} },
    found = { ancestor = { { "Ada", "Ben" } } },
  },
}

return M

--- A new ancestor's parents are ancestors too. Needed beside parent_is_ancestor, because either fact may come last:
--- whichever completes a find must seek the others.
local M = { on = "ancestor", friends = { parent = { { "child" } } }, finds = { "ancestor" }, monotone = true }

---@param db accrete.Batch
---@param ancestor @APP@.Ancestor
function M.load_friends(db, ancestor)
  return db.parent:where({ child = ancestor.elder })
end

---@param ancestor @APP@.Ancestor
---@param parents accrete.Rows<@APP@.Parent>
---@param found accrete.Found
function M.process_data(ancestor, parents, found)
  for _, parent in parents:each() do
    found.ancestor(parent, parent.parent, ancestor.younger)
  end
end

M.examples = {
  hit = {
    data = { elder = "Ben", younger = "Cleo" },
    friends = { { { parent = "Ada", child = "Ben" } } },
    found = { ancestor = { { "Ada", "Cleo" } } },
  },
  miss = { data = { elder = "Ben", younger = "Cleo" }, friends = { {} }, found = {} },
}

return M

--- What an author adds to a lifecycle's friends for a look-up that they lack, beside what they declare already.
local friends, kind_name, names = ... -- list of { kind = NAME }; names of the look-up's fields, nil: not known

local fields = names == nil and "{ … }" or #names == 0 and "{}" or ('{ "%s" }'):format(table.concat(names, '", "'))
for _, friend in ipairs(friends) do
  if friend.kind == kind_name then
    return ("add %s to friends.%s"):format(fields, kind_name)
  end
end
local words = #friends == 0 and "add friends = { %s = { %s } }" or "add %s = { %s } to friends"
return words:format(kind_name, fields)

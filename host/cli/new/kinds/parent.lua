--- A parent and a child. Comes from outside: parents.csv.
return { fields = { { "parent", "text" }, { "child", "text" } } }

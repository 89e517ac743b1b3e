--- A text as it was given. The only kind that comes from outside.
return { fields = { { "title", "text" }, { "body", "text" } } }

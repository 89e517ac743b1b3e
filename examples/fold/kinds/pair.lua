--- Two neighbouring words of a sentence.
return { fields = { { "first", "text" }, { "second", "text" } } }

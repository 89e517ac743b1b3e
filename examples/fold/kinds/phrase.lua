--- Three or more neighbouring words of a sentence, one blank between.
return { fields = { { "words", "text" } } }

--- A block of words in which every straight line is a run of words found in some sentence.
--- In canonical form, so that a block and its transpositions are one fact.
return {
  fields = {
    { "axes", "text" }, -- "b:2,c:1": the word one step along each axis, and its steps, sorted by the bytes of the words
    { "words", "text" }, -- row-major, last axis fastest, one blank between
    { "dims", "text" }, -- "2,1": the steps, largest first; follows from axes
  },
  unique = { "axes", "words" },
}

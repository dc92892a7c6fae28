# Writes OUT, with a string page_NAME for each of FILES.
set(text "/* Made from demo/web/page. */\n")
foreach(file ${FILES})
  cmake_path(GET file STEM name)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND text "extern const char page_${name}[];\nconst char page_${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")

# Fails if a committed reference differs from the one that TableGen makes.
string(REPLACE "," ";" NAMES "${NAMES}")
foreach(name ${NAMES})
  execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files --ignore-eol
                          ${MADE}/${name} ${COMMITTED}/${name}
                  RESULT_VARIABLE differs OUTPUT_QUIET ERROR_QUIET)
  if(differs)
    message(SEND_ERROR "docs/generated/${name} is out of date: build the target "
                       "llq-docs and commit the result")
  endif()
endforeach()

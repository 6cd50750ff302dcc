# What makes `weft` a program for any Linux (preset static): no loader, no shared library, and nothing
# of libc that would load one later (sdk/cli/static.c says what that is).
if(TARGET weft)
  set_target_properties(weft PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
if(TARGET weft_cli)
  target_sources(weft_cli PRIVATE ${CMAKE_CURRENT_LIST_DIR}/cli/static.c)
  target_link_options(weft_cli PRIVATE -static-pie)
endif()

# What `cmake --install` puts where: the programs, libweft as both kinds of library, the public headers,
# and the two ways to find them (pkg-config and find_package). Each rule holds for the targets that exist.
include(CMakePackageConfigHelpers)

foreach(program weft_cli weft_controller weft_router weft_tunneler)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    # Its manual page, as the program itself prints it.
    install(CODE "
      set(man \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man1\")
      file(MAKE_DIRECTORY \"\${man}\")
      execute_process(COMMAND \"$<TARGET_FILE:${program}>\" man COMMAND_ERROR_IS_FATAL ANY
                      OUTPUT_FILE \"\${man}/$<TARGET_FILE_NAME:${program}>.1\")")
  endif()
endforeach()

if(TARGET weft)
  # 0: the interface may still change between minor versions.
  set_target_properties(weft PROPERTIES VERSION 0.${PROJECT_VERSION_MINOR}.${PROJECT_VERSION_PATCH} SOVERSION 0)
  install(TARGETS weft LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  if(TARGET weft_static)
    install(TARGETS weft_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
  install(
    DIRECTORY ${PROJECT_SOURCE_DIR}/proto/base/include/weft ${PROJECT_SOURCE_DIR}/sdk/include/weft
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")

  # In weft.pc paths are relative to the file, so an installed tree may be moved as one.
  file(RELATIVE_PATH WEFT_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" WEFT_PC_PREFIX "${WEFT_PC_PREFIX}")
  configure_file(${CMAKE_CURRENT_LIST_DIR}/weft.pc.in ${PROJECT_BINARY_DIR}/weft.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/weft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

  set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
  configure_package_config_file(
    ${CMAKE_CURRENT_LIST_DIR}/weft-config.cmake.in ${PROJECT_BINARY_DIR}/weft-config.cmake
    INSTALL_DESTINATION ${package_dir}
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
  write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/weft-config-version.cmake COMPATIBILITY SameMinorVersion)
  install(
    FILES ${PROJECT_BINARY_DIR}/weft-config.cmake ${PROJECT_BINARY_DIR}/weft-config-version.cmake
    DESTINATION ${package_dir})
endif()

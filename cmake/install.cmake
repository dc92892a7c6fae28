# Installed: the library, its one header, the CMake package and the .pc file.
# They name one another relatively, so that the installed tree can be moved.
include(CMakePackageConfigHelpers)

install(TARGETS multicore EXPORT multicore-targets)
install(FILES ${PROJECT_SOURCE_DIR}/include/multicore.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/multicore)
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/multicore-config.cmake.in
  ${PROJECT_BINARY_DIR}/multicore-config.cmake
  INSTALL_DESTINATION ${package}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/multicore-config-version.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT multicore-targets NAMESPACE multicore:: DESTINATION ${package})
install(FILES
  ${PROJECT_BINARY_DIR}/multicore-config.cmake
  ${PROJECT_BINARY_DIR}/multicore-config-version.cmake
  DESTINATION ${package})

# A library directory that was given as an absolute path stays absolute.
set(pc_prefix ${CMAKE_INSTALL_PREFIX})
if(NOT IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${up}")
endif()
set(pc_libdir "\${prefix}")
set(pc_includedir "\${prefix}")
cmake_path(APPEND pc_libdir ${CMAKE_INSTALL_LIBDIR})
cmake_path(APPEND pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
configure_file(${PROJECT_SOURCE_DIR}/packaging/multicore.pc.in
  ${PROJECT_BINARY_DIR}/multicore.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/multicore.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

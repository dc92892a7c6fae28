# Installed: the library, its one header, the CMake package and the .pc file.

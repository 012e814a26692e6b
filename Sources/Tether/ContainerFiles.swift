import CLinux
import Linux

/// Where files of PID 1's lie that the container gets in the place of the image's.
enum ContainerFiles {
    /// Makes `directory` below /run/tether, a file system of its own: a container that fills such a file takes nothing from PID 1.
    /// - Parameter size: the most that it holds, as tmpfs(5) takes it.
    static func make(_ directory: String, size: String) throws(SyscallError) {
        try Files.makeDirectories("/run/tether", mode: 0o700)
        try Files.makeDirectories(directory)
        try attempt("mount tmpfs", directory) {
            mount("tmpfs", directory, "tmpfs", UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC), "mode=755,size=\(size)")
        }
    }
}

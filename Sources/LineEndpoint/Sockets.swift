public import Linux
import CLinux
import Glibc

/// Stream sockets for both kinds of address, close-on-exec and non-blocking.
public enum Sockets {
    /// Connects to a unix socket.
    public static func connect(path: String) throws(SyscallError) -> FileDescriptor {
        try withAddress("connect", path) { address, size throws(SyscallError) in
            let descriptor = try make(AF_UNIX)
            // A unix socket either connects at once or has a full queue of waiting ones (EAGAIN).
            try attempt("connect", path) { Glibc.connect(descriptor.rawValue, address, size) }
            return descriptor
        }
    }

    /// Waits for connections on a unix socket that only its owner can open. A socket that another program has left at `path` is
    /// replaced; one on which somebody still listens is not, and nor is a file of another kind. Of several that do this at the same
    /// moment one gets it, and the others fail with EADDRINUSE.
    public static func listen(path: String) throws(SyscallError) -> FileDescriptor {
        try withAddress("listen on", path) { address, size throws(SyscallError) in
            let descriptor = try make(AF_UNIX)
            // Linux gives the file the socket's own mode, so there is no moment in which others could come in. The umask would do
            // as well, but it is the whole process's: two threads that set it and put it back can leave it set.
            try attempt("fchmod", path) { fchmod(descriptor.rawValue, 0o600) }
            // What is not listened on yet looks like something that was left, and what was left, two may find.
            let lock = try lockDirectory(of: path)
            do throws(SyscallError) {
                try attempt("bind", path) { bind(descriptor.rawValue, address, size) }
            } catch {
                guard error.errno.rawValue == EADDRINUSE else { throw error }
                // A connection to a file of another kind is refused as well.
                var info = stat()
                guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFSOCK else { throw SyscallError("listen on", path, .exists) }
                guard isAbandoned(address, size) else { throw error }
                unlink(path)
                try attempt("bind", path) { bind(descriptor.rawValue, address, size) }
            }
            try attempt("listen", path) { Glibc.listen(descriptor.rawValue, 128) }
            _ = consume lock
            return descriptor
        }
    }

    /// How long another program may hold the lock, in milliseconds: far longer than ours do.
    private static let lockPatience: Int64 = 5_000

    /// Locks the directory of a file, until the descriptor closes. A file of its own for the lock would be left behind, or bring the same
    /// question again: who removes it.
    private static func lockDirectory(of path: String) throws(SyscallError) -> FileDescriptor {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
        let deadline = Deadline.after(milliseconds: lockPatience)
        while true {
            do throws(SyscallError) {
                try attempt("flock", directory) { flock(descriptor.rawValue, LOCK_EX | LOCK_NB) }
                return descriptor
            } catch { if error.errno != .wouldBlock || deadline.hasPassed { throw error } }
            usleep(1_000)
        }
    }

    /// Whether nobody listens at a socket's path.
    private static func isAbandoned(_ address: __CONST_SOCKADDR_ARG, _ size: socklen_t) -> Bool {
        guard let probe = try? make(AF_UNIX) else { return false }
        return Glibc.connect(probe.rawValue, address, size) == -1 && clinux_errno() == ECONNREFUSED
    }

    private static func make(_ family: Int32) throws(SyscallError) -> FileDescriptor {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        return FileDescriptor(owning: try attempt("socket") { socket(family, type, 0) })
    }

    private static func withAddress<Result: ~Copyable>(
        _ operation: String, _ path: String, _ body: (__CONST_SOCKADDR_ARG, socklen_t) throws(SyscallError) -> Result
    ) throws(SyscallError) -> Result {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        // An empty one, or one that begins with NUL, would be a name that has no owner and no mode (unix(7), abstract).
        if bytes.isEmpty || bytes.contains(0) { throw SyscallError(operation, path.isEmpty ? "an empty path" : path, .invalidArgument) }
        // One more for the NUL that ends it.
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SyscallError(operation, path, Errno(rawValue: ENAMETOOLONG))
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let storage = UnsafeMutablePointer<sockaddr_un>.allocate(capacity: 1)
        storage.initialize(to: address)
        defer { storage.deallocate() }
        let pointer = UnsafeRawPointer(storage).assumingMemoryBound(to: sockaddr.self)
        return try body(__CONST_SOCKADDR_ARG(__sockaddr__: pointer), socklen_t(MemoryLayout<sockaddr_un>.size))
    }

    // MARK: TCP

    /// Connects to the first address of `host` that answers.
    /// - Parameter milliseconds: how long one address may take.
    public static func connect(host: String, port: UInt16, milliseconds: Int64 = 10_000) throws(EndpointError) -> FileDescriptor {
        var failure = EndpointError("connect to", "\(host):\(port)", "the name has no address")
        for address in try addresses(host, port, passive: false) {
            do throws(SyscallError) { return try connect(address, "\(host):\(port)", milliseconds) } catch {
                failure = EndpointError("connect to", "\(host):\(port)", error.errno.description)
            }
        }
        throw failure
    }

    /// Waits for TCP connections.
    /// - Parameters:
    ///   - host: nil for every address of this machine.
    ///   - port: 0 for one that the kernel chooses.
    public static func listen(host: String?, port: UInt16) throws(EndpointError) -> FileDescriptor {
        let name = "\(host ?? "*"):\(port)"
        var failure = EndpointError("listen on", name, "the name has no address")
        // The IPv6 wildcard takes IPv4 as well; it comes behind it in the list.
        for address in try addresses(host, port, passive: true).sorted(by: { $0.family > $1.family }) {
            do throws(SyscallError) {
                let descriptor = try make(address.family)
                set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
                if address.family == AF_INET6 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
                try attempt("bind", name) { address.with { bind(descriptor.rawValue, $0, $1) } }
                try attempt("listen", name) { Glibc.listen(descriptor.rawValue, 1024) }
                return descriptor
            } catch { failure = EndpointError("listen on", name, error.errno.description) }
        }
        throw failure
    }

    /// The port on which a socket waits.
    public static func port(of listener: borrowing FileDescriptor) -> UInt16? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let number = listener.rawValue
        return withUnsafeMutableBytes(of: &storage) { bytes -> UInt16? in
            guard let base = bytes.baseAddress,
                getsockname(number, __SOCKADDR_ARG(__sockaddr__: base.assumingMemoryBound(to: sockaddr.self)), &size) == 0
            else { return nil }
            // The port stands at the same place in both kinds of address, in network order.
            return UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        }
    }

    /// Takes the next connection that waits, with the address of its other end in words; nil when none does.
    public static func accept(_ listener: borrowing FileDescriptor) throws(SyscallError) -> (descriptor: Int32, peer: String)? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let flags = Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let number = listener.rawValue
        do throws(SyscallError) {
            let accepted = try attempt("accept4") {
                withUnsafeMutableBytes(of: &storage) {
                    accept4(number, __SOCKADDR_ARG(__sockaddr__: $0.baseAddress?.assumingMemoryBound(to: sockaddr.self)), &size, flags)
                }
            }
            return (accepted, name(of: &storage, size))
        } catch {
            // A client that is gone already is none.
            if error.errno == .wouldBlock || error.errno.rawValue == ECONNABORTED { return nil }
            throw error
        }
    }

    private static func name(of storage: inout sockaddr_storage, _ size: socklen_t) -> String {
        guard Int32(storage.ss_family) != AF_UNIX else { return "unix" }
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let result = withUnsafeBytes(of: &storage) { bytes -> Int32 in
            guard let base = bytes.baseAddress else { return -1 }
            return getnameinfo(
                base.assumingMemoryBound(to: sockaddr.self), size, &host, socklen_t(host.count), &port, socklen_t(port.count),
                NI_NUMERICHOST | NI_NUMERICSERV)
        }
        if result != 0 { return "unknown" }
        let text = host.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        let number = port.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        return text.contains(":") ? "[\(text)]:\(number)" : "\(text):\(number)"
    }

    /// Has small messages sent at once, and a peer noticed that vanished without a word.
    public static func tune(_ descriptor: borrowing FileDescriptor) {
        set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        set(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPIDLE, 30)
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPINTVL, 10)
        set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
    }

    private static func set(_ descriptor: borrowing FileDescriptor, _ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        _ = setsockopt(descriptor.rawValue, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private struct Address {
        let family: Int32
        let bytes: [UInt8]

        func with<Result>(_ body: (__CONST_SOCKADDR_ARG, socklen_t) -> Result) -> Result {
            bytes.withUnsafeBytes {
                body(__CONST_SOCKADDR_ARG(__sockaddr__: $0.baseAddress?.assumingMemoryBound(to: sockaddr.self)), socklen_t(bytes.count))
            }
        }
    }

    private static func addresses(_ host: String?, _ port: UInt16, passive: Bool) throws(EndpointError) -> [Address] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, "\(port)", &hints, &list)
        guard result == 0 else {
            throw EndpointError("find", host ?? "this machine", gai_strerror(result).map { String(cString: $0) } ?? "unknown error")
        }
        defer { freeaddrinfo(list) }
        var addresses: [Address] = []
        var next = list
        while let entry = next?.pointee {
            if let address = entry.ai_addr {
                let bytes = UnsafeRawBufferPointer(start: address, count: Int(entry.ai_addrlen))
                addresses.append(Address(family: entry.ai_family, bytes: Array(bytes)))
            }
            next = entry.ai_next
        }
        return addresses
    }

    private static func connect(_ address: Address, _ name: String, _ milliseconds: Int64) throws(SyscallError) -> FileDescriptor {
        let descriptor = try make(address.family)
        let number = descriptor.rawValue
        do throws(SyscallError) {
            try attempt("connect", name) { address.with { Glibc.connect(number, $0, $1) } }
        } catch {
            guard error.errno.rawValue == EINPROGRESS else { throw error }
            let deadline = Deadline.after(milliseconds: milliseconds)
            var watched = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
            while try attempt("poll", name, { poll(&watched, 1, deadline.pollTimeout) }) == 0 {
                if deadline.hasPassed { throw SyscallError("connect", name, .timedOut) }
            }
            var failure: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            try attempt("getsockopt", name) { getsockopt(number, SOL_SOCKET, SO_ERROR, &failure, &size) }
            if failure != 0 { throw SyscallError("connect", name, Errno(rawValue: failure)) }
        }
        tune(descriptor)
        return descriptor
    }
}

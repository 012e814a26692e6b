import CZlib
import FoundationEssentials

/// A minimal OCI runtime configuration (runtime-spec 1.2.0, config.json) for one command.
public struct ContainerConfiguration: Sendable, Equatable, Encodable {
    struct User: Sendable, Equatable, Encodable {
        var uid: UInt32
        var gid: UInt32
    }
    struct Process: Sendable, Equatable, Encodable {
        var args: [String]
        var cwd: String
        var env: [String]
        var user: User
    }
    struct Root: Sendable, Equatable, Encodable {
        var path = "rootfs"
        var readonly: Bool
    }

    private(set) var ociVersion = "1.2.0"
    var process: Process
    var root: Root
    var hostname: String

    /// The PATH a container gets that sets none: the one Docker gives.
    public static let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// - Parameters:
    ///   - environment: `NAME=value`; a later one replaces an earlier one of the same name. PATH is added if absent.
    ///   - terminal: the value of TERM if `environment` has none; nil leaves it out.
    public init(
        arguments: [String], environment: [String] = [], terminal: String? = nil, directory: String = "/", uid: UInt32 = 0, gid: UInt32 = 0,
        hostname: String = "container", isReadOnly: Bool = false
    ) {
        var variables = ["PATH=\(Self.defaultPath)"]
        if let terminal { variables.append("TERM=\(terminal)") }
        for variable in environment {
            let name = variable.prefix { $0 != "=" } + "="
            variables.removeAll { $0.hasPrefix(name) }
            variables.append(variable)
        }
        process = Process(args: arguments, cwd: directory, env: variables, user: User(uid: uid, gid: gid))
        root = Root(readonly: isReadOnly)
        self.hostname = hostname
    }

    /// The configuration as JSON, with its members sorted.
    public func json() throws(VirtualMachineError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do { return Array(try encoder.encode(self)) } catch { throw VirtualMachineError("encode the configuration", "", "\(error)") }
    }

    /// Reads `uid` or `uid:gid`, both decimal; without a group it is 0.
    public static func parseUser(_ text: String) -> (uid: UInt32, gid: UInt32)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let uid = UInt32(parts[0]) else { return nil }
        guard parts.count == 2 else { return (uid, 0) }
        return UInt32(parts[1]).map { (uid, $0) }
    }
}

/// How the configuration travels in `guestinfo.tether.config`.
public enum ConfigurationEncoding: String, Sendable, CaseIterable {
    case plain
    case base64
    case gzipBase64 = "gzip+base64"

    /// Values beyond this go compressed unless the user says otherwise: VMware's limits on one value begin at 64 KiB.
    public static let plainLimit = 48 * 1024

    /// The encoding for a configuration of `count` bytes.
    public static func suited(to count: Int) -> ConfigurationEncoding { count > plainLimit ? .gzipBase64 : .plain }

    /// The guestinfo variables that deliver `configuration`.
    public func variables(_ configuration: [UInt8]) throws(VirtualMachineError) -> [String: [UInt8]] {
        switch self {
        case .plain: return ["guestinfo.tether.config": configuration]
        case .base64: return Self.encoded(configuration, self)
        case .gzipBase64: return Self.encoded(try gzip(configuration), self)
        }
    }

    private static func encoded(_ bytes: [UInt8], _ encoding: ConfigurationEncoding) -> [String: [UInt8]] {
        [
            "guestinfo.tether.config": Array(Data(bytes).base64EncodedData()),
            "guestinfo.tether.config.encoding": Array(encoding.rawValue.utf8),
        ]
    }
}

/// Compresses into the gzip format (RFC 1952), with zlib. The header carries no time and no name.
func gzip(_ bytes: [UInt8]) throws(VirtualMachineError) -> [UInt8] {
    let tooLarge = VirtualMachineError("compress the configuration", "", "it is too large")
    guard let length = UInt32(exactly: bytes.count) else { throw tooLarge }
    var stream = z_stream()
    // 15 + 16: the largest window, and a gzip header instead of zlib's.
    guard
        deflateInit2_(
            &stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
            == Z_OK
    else { throw VirtualMachineError("compress the configuration", "", "zlib cannot be initialised") }
    defer { deflateEnd(&stream) }
    guard let bound = UInt32(exactly: deflateBound(&stream, UInt(length))) else { throw tooLarge }
    var input = bytes
    var output = [UInt8](repeating: 0, count: Int(bound))
    let result = input.withUnsafeMutableBufferPointer { source in
        output.withUnsafeMutableBufferPointer { target in
            stream.next_in = source.baseAddress
            stream.avail_in = length
            stream.next_out = target.baseAddress
            stream.avail_out = bound
            return deflate(&stream, Z_FINISH)
        }
    }
    guard result == Z_STREAM_END else { throw VirtualMachineError("compress the configuration", "", "zlib error \(result)") }
    return Array(output[..<Int(stream.total_out)])
}

/// The VM's guestinfo variables, read and set over RPCI.
///
/// Keys are full names, "guestinfo." included.
public final class GuestInfoClient<Port: BackdoorPort> {
    /// Longest value in bytes that is sent: a request, command and key included, must stay under 64 KiB.
    public static var maximumValue: Int { 60_000 }
    /// Longest key in bytes.
    public static var maximumKey: Int { 1024 }
    /// Default bound in bytes on a value after decompression.
    public static var defaultDecodedLimit: Int { 8 << 20 }

    public let rpci: RPCI<Port>

    public init(_ rpci: RPCI<Port>) { self.rpci = rpci }

    public convenience init(port: Port) { self.init(RPCI(port: port)) }

    /// The value of `key`.
    /// - Returns: nil when it is absent: the host has none, or it is empty, or it is a mark that tools leave where they
    ///   cannot delete: `---` (cloud-init) or `<nil>` (VIC).
    public func get(_ key: String) throws(GuestInfoError) -> [UInt8]? {
        guard let value = try exact(key), !Self.isAbsent(value) else { return nil }
        return value
    }

    /// The value of `key` as it is, also where it is one that stands for none.
    /// - Returns: nil when the host has no such key.
    public func exact(_ key: String) throws(GuestInfoError) -> [UInt8]? {
        try checkKey(key, "info-get")
        switch try perform("info-get", key, []) {
        case .success(let value): return value
        case .failure(let message):
            if Self.isNoValue(message) { return nil }
            throw GuestInfoError("info-get", key, Self.cause(of: message))
        }
    }

    /// Sets `key` to `value`. A value cannot be deleted from the guest: an empty one, or `---`, counts as absent.
    public func set(_ key: String, _ value: [UInt8]) throws(GuestInfoError) {
        try checkKey(key, "info-set")
        guard value.count <= Self.maximumValue else {
            throw GuestInfoError("info-set", key, .valueTooLong(bytes: value.count, limit: Self.maximumValue))
        }
        guard !value.contains(0) else { throw GuestInfoError("info-set", key, .valueContainsNUL) }
        if case .failure(let message) = try perform("info-set", key, [UInt8(ascii: " ")] + value) {
            throw GuestInfoError("info-set", key, Self.cause(of: message))
        }
    }

    /// The value of `key`, decoded as `key`.encoding says: plain (or absent), `base64`, `b64`, `gzip+base64`, `gz+b64`.
    /// - Parameter limit: longest value in bytes after decompression.
    /// - Returns: nil when `key` is absent.
    public func getDecoded(_ key: String, limit: Int = defaultDecodedLimit) throws(GuestInfoError) -> [UInt8]? {
        guard let value = try get(key) else { return nil }
        let name = try get(key + ".encoding") ?? []
        do throws(GuestInfoError.Cause) {
            return try ValueDecoder(name: name).decode(value, limit: limit)
        } catch {
            throw GuestInfoError("decode", key, error)
        }
    }

    /// Sends one line to the VM's log on the host (vmware.log).
    public func log(_ line: String) throws(GuestInfoError) {
        if case .failure(let message) = try perform("log", line, []) { throw GuestInfoError("log", line, Self.cause(of: message)) }
    }

    private func perform(_ command: String, _ key: String, _ rest: [UInt8]) throws(GuestInfoError) -> RPCIReply {
        do throws(GuestInfoError.Cause) {
            return try rpci.perform(Array(command.utf8) + [UInt8(ascii: " ")] + Array(key.utf8) + rest)
        } catch {
            throw GuestInfoError(command, key, error)
        }
    }

    /// The request is text with spaces between its words: a key with one would be read as something else.
    private func checkKey(_ key: String, _ operation: String) throws(GuestInfoError) {
        let bytes = key.utf8
        guard !bytes.isEmpty, bytes.count <= Self.maximumKey, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw GuestInfoError(operation, key, .invalidKey)
        }
    }

    static func isAbsent(_ value: [UInt8]) -> Bool {
        value.isEmpty || value == Array("---".utf8) || value == Array("<nil>".utf8)
    }

    private static func isNoValue(_ message: [UInt8]) -> Bool { hasPrefix(message, "No value found") }

    /// What the text of a refusal means.
    static func cause(of message: [UInt8]) -> GuestInfoError.Cause {
        if hasPrefix(message, "Permission denied") { return .permissionDenied }
        if hasPrefix(message, "Unknown command") { return .unknownCommand }
        // The host's words end up in a log line: without a bound or a line break they could forge others.
        let printable = message.prefix(200).map { $0 >= 0x20 && $0 < 0x7F ? $0 : UInt8(ascii: "?") }
        return .refused(String(decoding: printable, as: UTF8.self))
    }

    private static func hasPrefix(_ message: [UInt8], _ text: String) -> Bool {
        message.starts(with: Array(text.utf8)) { lower($0) == lower($1) }
    }

    private static func lower(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }
}

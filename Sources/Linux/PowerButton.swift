import CLinux

/// Presses of the machine's power button, which a hypervisor sends to ask for a shutdown.
///
/// The kernel's ACPI button driver multicasts them on generic netlink, family `acpi_event`
/// (drivers/acpi/event.c); needs the module `button`, but no input layer.
public struct PowerButton: ~Copyable {
    private let socket: FileDescriptor
    public var rawValue: Int32 { socket.rawValue }

    /// Joins the kernel's ACPI event group.
    /// - Throws: ``SyscallError``; ENOENT when the kernel has no such group.
    public init() throws(SyscallError) {
        let opened = FileDescriptor(
            owning: try attempt("socket", "generic netlink") {
                CLinux.socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | O_CLOEXEC | O_NONBLOCK, GenericNetlink.netlinkProtocol)
            })
        let request = GenericNetlink.familyRequest("acpi_event")
        try attempt("send", "generic netlink") { request.withUnsafeBytes { send(opened.rawValue, $0.baseAddress, $0.count, 0) } }
        // The controller answers within the send itself; a second is for a kernel that does it otherwise.
        var poller = pollfd(fd: opened.rawValue, events: Int16(POLLIN), revents: 0)
        if try attempt("poll", "generic netlink", { poll(&poller, 1, 1000) }) == 0 {
            throw SyscallError("find", "generic netlink family acpi_event", .timedOut)
        }
        var buffer = [UInt8](repeating: 0, count: 8192)
        let count = try attempt("recv", "generic netlink") {
            buffer.withUnsafeMutableBytes { recv(opened.rawValue, $0.baseAddress, $0.count, 0) }
        }
        guard var group = GenericNetlink.firstMulticastGroup(in: Array(buffer.prefix(count))) else {
            throw SyscallError("find", "generic netlink family acpi_event", .noSuchFile)
        }
        try attempt("setsockopt NETLINK_ADD_MEMBERSHIP", "acpi_event") {
            setsockopt(opened.rawValue, GenericNetlink.socketLevel, 1, &group, socklen_t(MemoryLayout<UInt32>.size))
        }
        socket = opened
    }

    /// Reads what has arrived; true if the power button was pressed.
    public func takePress() throws(SyscallError) -> Bool {
        var pressed = false
        // Bounded, so that a flood of other ACPI events cannot hold the caller.
        for _ in 0..<16 {
            guard let message = try socket.read(atMost: 4096, object: "acpi_event"), !message.isEmpty else { break }
            if GenericNetlink.isPowerButton(message) { pressed = true }
        }
        return pressed
    }
}

/// The few messages of generic netlink that ``PowerButton`` needs, as pure bytes (linux/genetlink.h, netlink(7)).
public enum GenericNetlink {
    static let netlinkProtocol: Int32 = 16
    static let socketLevel: Int32 = 270
    private static let controllerFamily: UInt16 = 0x10
    private static let getFamily: UInt8 = 3
    private static let attributeFamilyName: UInt16 = 2
    private static let attributeMulticastGroups: UInt16 = 7
    private static let attributeGroupID: UInt16 = 2
    /// struct nlmsghdr (16 bytes) and struct genlmsghdr (4).
    private static let headersSize = 20

    /// CTRL_CMD_GETFAMILY for `name`.
    public static func familyRequest(_ name: String) -> [UInt8] {
        var attribute: [UInt8] = []
        let text = Array(name.utf8) + [0]
        append16(&attribute, UInt16(clamping: 4 + text.count))
        append16(&attribute, attributeFamilyName)
        attribute += text
        while attribute.count % 4 != 0 { attribute.append(0) }
        var message: [UInt8] = []
        append32(&message, UInt32(clamping: headersSize + attribute.count))
        append16(&message, controllerFamily)
        append16(&message, 1)  // NLM_F_REQUEST
        append32(&message, 1)
        append32(&message, 0)
        message += [getFamily, 1, 0, 0]
        return message + attribute
    }

    /// The number of the first multicast group in the controller's answer; nil if it has none or is an error.
    public static func firstMulticastGroup(in message: [UInt8]) -> UInt32? {
        guard message.count >= headersSize, read16(message, 4) == controllerFamily else { return nil }
        var found: UInt32?
        forEachAttribute(message[headersSize...]) { type, groups in
            guard type == attributeMulticastGroups else { return }
            forEachAttribute(groups) { _, group in
                forEachAttribute(group) { type, value in
                    if type == attributeGroupID, value.count >= 4, found == nil { found = read32(Array(value), 0) }
                }
            }
        }
        return found
    }

    /// Whether an event message comes from a power button: its device class begins with "button/power".
    public static func isPowerButton(_ message: [UInt8]) -> Bool {
        guard message.count >= headersSize else { return false }
        var result = false
        forEachAttribute(message[headersSize...]) { _, value in
            if value.starts(with: "button/power".utf8) { result = true }
        }
        return result
    }

    /// Walks attributes: u16 length (with the 4-byte header), u16 type, payload, padding to 4. Stops at the first bad one.
    private static func forEachAttribute(_ bytes: ArraySlice<UInt8>, _ body: (UInt16, ArraySlice<UInt8>) -> Void) {
        var rest = bytes
        while rest.count >= 4 {
            let header = Array(rest.prefix(4))
            let length = Int(read16(header, 0))
            guard length >= 4, length <= rest.count else { return }
            // The two highest bits of the type are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
            body(read16(header, 2) & 0x3FFF, rest.dropFirst(4).prefix(length - 4))
            rest = rest.dropFirst((length + 3) & ~3)
        }
    }

    private static func append16(_ bytes: inout [UInt8], _ value: UInt16) {
        bytes.append(UInt8(truncatingIfNeeded: value))
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
    }

    private static func append32(_ bytes: inout [UInt8], _ value: UInt32) {
        append16(&bytes, UInt16(truncatingIfNeeded: value))
        append16(&bytes, UInt16(truncatingIfNeeded: value >> 16))
    }

    private static func read16(_ bytes: [UInt8], _ at: Int) -> UInt16 {
        guard at >= 0, at + 2 <= bytes.count else { return 0 }
        return UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8
    }

    private static func read32(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        UInt32(read16(bytes, at)) | UInt32(read16(bytes, at + 2)) << 16
    }
}

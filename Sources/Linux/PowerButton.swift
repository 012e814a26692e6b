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
        let request = GenericNetlink.familyRequest("acpi_event").bytes
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
            setsockopt(
                opened.rawValue, GenericNetlink.socketLevel, GenericNetlink.addMembership, &group, socklen_t(MemoryLayout<UInt32>.size))
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

/// The few messages of generic netlink that ``PowerButton`` needs (linux/genetlink.h).
enum GenericNetlink {
    static let netlinkProtocol: Int32 = 16
    static let socketLevel: Int32 = 270
    /// NETLINK_ADD_MEMBERSHIP.
    static let addMembership: Int32 = 1
    /// The family of the controller, which knows the others.
    private static let controllerFamily: UInt16 = 0x10
    private static let getFamily: UInt8 = 3
    private static let request: UInt16 = 1
    private static let attributeFamilyName: UInt16 = 2
    private static let attributeMulticastGroups: UInt16 = 7
    private static let attributeGroupID: UInt16 = 2
    /// struct genlmsghdr: command, version, and two bytes that mean nothing.
    private static let headerSize = 4

    /// CTRL_CMD_GETFAMILY for `name`.
    static func familyRequest(_ name: String) -> NetlinkMessage {
        var payload: [UInt8] = [getFamily, 1, 0, 0]
        NetlinkAttributes.append(attributeFamilyName, name, to: &payload)
        return NetlinkMessage(type: controllerFamily, flags: request, sequence: 1, payload: payload)
    }

    /// The number of the first multicast group in the controller's answer; nil if it has none or is an error.
    static func firstMulticastGroup(in datagram: [UInt8]) -> UInt32? {
        var found: UInt32?
        for message in NetlinkMessage.decode(datagram) where message.type == controllerFamily {
            NetlinkAttributes.forEach(message.payload.dropFirst(headerSize)) { type, groups in
                guard type == attributeMulticastGroups else { return }
                NetlinkAttributes.forEach(groups) { _, group in
                    NetlinkAttributes.forEach(group) { type, value in
                        if type == attributeGroupID { found = found ?? LittleEndian.uint32(value, 0) }
                    }
                }
            }
        }
        return found
    }

    /// Whether an event comes from a power button: its device class begins with "button/power".
    static func isPowerButton(_ datagram: [UInt8]) -> Bool {
        var result = false
        for message in NetlinkMessage.decode(datagram) {
            NetlinkAttributes.forEach(message.payload.dropFirst(headerSize)) { _, value in
                if value.starts(with: "button/power".utf8) { result = true }
            }
        }
        return result
    }
}

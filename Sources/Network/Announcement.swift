import CLinux
import ContainerSpec
import Linux

/// Tells the neighbours that an IPv4 address is here now (RFC 5227, section 2.3): those that knew another machine at it would go on
/// sending to that one. The kernel itself does so only when an interface with addresses is switched on (`arp_notify`).
struct Announcement: Equatable {
    let link: Link
    let address: IPAddress

    /// The Ethernet frame of an ARP request for the own address (RFC 826), to everybody; nil where either is no such address.
    var frame: [UInt8]? {
        let (hardware, protocolAddress) = (link.macAddress, address.bytes)
        guard hardware.count == 6, protocolAddress.count == 4 else { return nil }
        let everybody = [UInt8](repeating: 0xFF, count: 6)
        let nobody = [UInt8](repeating: 0, count: 6)
        // Ethernet, IPv4, addresses of 6 and 4 bytes, request.
        return everybody + hardware + [0x08, 0x06] + [0, 1, 0x08, 0, 6, 4, 0, 1] + hardware + protocolAddress + nobody + protocolAddress
    }
}

extension Configurator {
    /// How long an interface that was just switched on may take until it sends, in milliseconds.
    private static let announcementPatience: Int64 = 1000

    /// Sends them all, each once its interface has a carrier: before that the kernel drops what is sent. What fails is left, for
    /// neighbours find out by themselves, only later.
    mutating func send(_ announcements: [Announcement]) {
        var waiting = announcements
        let deadline = Deadline.after(milliseconds: Configurator.announcementPatience)
        while !waiting.isEmpty {
            guard let links = try? links() else { return }
            waiting.removeAll { announcement in
                let link = links.first { $0.index == announcement.link.index }
                guard let link, let frame = announcement.frame else { return true }
                if !link.isRunning { return false }
                _ = frame.withUnsafeBytes { clinux_send_frame(link.index, $0.baseAddress, $0.count) }
                return true
            }
            if waiting.isEmpty || deadline.hasPassed { return }
            _ = poll(nil, 0, 20)
        }
    }
}

import CLinux
import ContainerSpec
import Linux

/// Sets interfaces up as they are wanted (rtnetlink(7)). It may wait for the kernel, and so runs in a worker, never in PID 1 itself.
public struct Configurator: ~Copyable {
    private var socket: RouteSocket
    /// What neighbours are to be told, once everything is set up.
    private var announcements: [Announcement] = []
    /// How long the kernel may take to find out whether somebody else has an IPv6 address, in milliseconds: it asks once, and
    /// waits a second, after up to another one (RFC 4862, section 5.4).
    private static let duplicatePatience: Int64 = 4000

    public init() throws(NetworkError) {
        do throws(SyscallError) { socket = try RouteSocket() } catch { throw NetworkError(error) }
    }

    /// Sets up all of `wanted` that is there, one after another; `report` is told of each.
    public mutating func apply(_ wanted: [WantedInterface], report: (InterfaceReport) -> Void) {
        var links: [Link]
        do throws(NetworkError) { links = try self.links() } catch {
            for interface in wanted { report(InterfaceReport(id: interface.id, outcome: .failed(error))) }
            return
        }
        var found: [Link?] = []
        for interface in wanted {
            // Two entries that mean the same adapter would undo each other's work: the first has it.
            let free = links.filter { link in !found.contains { $0?.index == link.index } }
            let known = interface.knownIndex.flatMap { index in free.first { $0.index == index } }
            found.append(known ?? Adapter.find(interface.match, in: free) { Adapter.path(of: $0.name) })
        }
        let names = giveNames(wanted, found, &links)
        for (position, interface) in wanted.enumerated() {
            guard let link = found[position].flatMap({ link in links.first { $0.index == link.index } }) else {
                report(InterfaceReport(id: interface.id, outcome: .missing))
                continue
            }
            if let error = names[position] {
                report(InterfaceReport(id: interface.id, outcome: .failed(error), link: link))
                continue
            }
            var routesSet = 0
            do throws(NetworkError) {
                try setUp(interface, link, &routesSet)
                report(InterfaceReport(id: interface.id, outcome: .done, link: link))
            } catch {
                report(InterfaceReport(id: interface.id, outcome: .failed(error), link: link, routesSet: routesSet))
            }
        }
        send(announcements)
        announcements = []
    }

    /// All interfaces.
    public mutating func links() throws(NetworkError) -> [Link] {
        try socket.exchange(.links, "list", "network interfaces").compactMap { if case .link(let link) = $0 { link } else { nil } }
    }

    /// Switches the loopback interface on, which is always the first.
    public mutating func switchOnLoopback() throws(NetworkError) {
        _ = try socket.exchange(.setLink(index: 1, isUp: true), "switch on", "lo")
    }

    // MARK: Names

    /// Renames what has another name than it is to have; `links` then has the new names.
    /// - Returns: what went wrong, for each of `wanted`.
    private mutating func giveNames(_ wanted: [WantedInterface], _ found: [Link?], _ links: inout [Link]) -> [NetworkError?] {
        var errors = [NetworkError?](repeating: nil, count: wanted.count)
        var waiting: [(position: Int, index: UInt32, name: String)] = []
        for (position, interface) in wanted.enumerated() {
            if let link = found[position], let name = interface.name, link.name != name { waiting.append((position, link.index, name)) }
        }
        // Where two exchange their names, or one has the name that another one gives up, the first step is out of the way.
        for (position, index, _) in waiting {
            guard let link = links.first(where: { $0.index == index }),
                waiting.contains(where: { $0.index != index && $0.name == link.name })
            else { continue }
            do throws(NetworkError) { try rename(index, to: "rename\(index)", &links) } catch { errors[position] = error }
        }
        for (position, index, name) in waiting where errors[position] == nil {
            do throws(NetworkError) { try rename(index, to: name, &links) } catch { errors[position] = error }
        }
        return errors
    }

    private mutating func rename(_ index: UInt32, to name: String, _ links: inout [Link]) throws(NetworkError) {
        guard let position = links.firstIndex(where: { $0.index == index }) else { return }
        let object = "\(links[position].name) to \(name)"
        // The kernel renames what is switched off only.
        if links[position].isUp {
            _ = try socket.exchange(.setLink(index: index, isUp: false), "switch off", links[position].name)
            links[position].isUp = false
        }
        _ = try socket.exchange(.setLink(index: index, name: name), "rename", object)
        links[position].name = name
    }

    // MARK: Addresses and routes

    private mutating func setUp(_ interface: WantedInterface, _ link: Link, _ routesSet: inout Int) throws(NetworkError) {
        // When it is switched on again later, the kernel tells the neighbours.
        try? Files.write("1", to: "/proc/sys/net/ipv4/conf/\(link.name)/arp_notify")
        var hasWaited = false
        for step in interface.steps(for: link) {
            if case .addRoute = step.request, !hasWaited {
                hasWaited = true
                try waitForAddresses(interface, link)
            }
            do throws(NetworkError) { _ = try socket.exchange(step.request, step.operation, step.object) } catch {
                guard let errno = error.errno, step.harmless.contains(errno.rawValue) else { throw error }
            }
            if case .addRoute = step.request { routesSet += 1 }
            if case .addAddress(_, let prefix) = step.request, prefix.address.isIPv4, !interface.present.addresses.contains(prefix) {
                announcements.append(Announcement(link: link, address: prefix.address))
            }
        }
        if !hasWaited { try waitForAddresses(interface, link) }
    }

    /// Waits until IPv6 addresses can be used; one that somebody else has is an error.
    private mutating func waitForAddresses(_ interface: WantedInterface, _ link: Link) throws(NetworkError) {
        let wanted = interface.addresses.filter { !$0.address.isIPv4 }
        if wanted.isEmpty { return }
        let deadline = Deadline.after(milliseconds: Configurator.duplicatePatience)
        while true {
            var isTentative = false
            for answer in try socket.exchange(.addresses6, "list", "addresses of \(link.name)") {
                guard case .address(let address) = answer, address.index == link.index, wanted.contains(address.prefix) else { continue }
                if address.isDuplicate {
                    throw NetworkError("add address", "\(address.prefix.text) to \(link.name)", "another machine on the network has it")
                }
                if address.isTentative { isTentative = true }
            }
            // Without a cable nobody answers, and the kernel goes on asking when there is one.
            if !isTentative || deadline.hasPassed { return }
            _ = poll(nil, 0, 20)
        }
    }
}

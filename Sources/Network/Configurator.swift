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

    /// One interface, as far as it has come.
    private struct Work {
        let wanted: WantedInterface
        let link: Link
        /// What is left to do.
        var steps: [WantedInterface.Step]
        var report: InterfaceReport

        init(_ wanted: WantedInterface, _ link: Link) {
            self.wanted = wanted
            self.link = link
            steps = wanted.steps(for: link)
            report = InterfaceReport(id: wanted.id, outcome: .done, link: link)
        }
    }

    /// Sets up all of `wanted` that is there; `report` is told of each as soon as it is done. None waits for the IPv6 addresses of another,
    /// and such a one is reported twice.
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
        var waiting: [Work] = []
        for (position, interface) in wanted.enumerated() {
            guard let link = found[position].flatMap({ link in links.first { $0.index == link.index } }) else {
                report(InterfaceReport(id: interface.id, outcome: .missing))
                continue
            }
            if let error = names[position] {
                report(InterfaceReport(id: interface.id, outcome: .failed(error), link: link))
                continue
            }
            if interface.isSettled { continue }
            var work = Work(interface, link)
            do throws(NetworkError) {
                try addAddresses(&work)
                if interface.addresses.allSatisfy({ $0.address.isIPv4 }) {
                    try take(&work) { _ in false }
                } else {
                    report(InterfaceReport(id: interface.id, outcome: .begun, link: link))
                    waiting.append(work)
                    continue
                }
            } catch { work.report.outcome = .failed(error) }
            report(work.report)
        }
        // By then all IPv4 addresses are there.
        send(announcements)
        announcements = []
        finish(waiting, report)
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
            guard !interface.isSettled, let link = found[position], let name = interface.name, link.name != name else { continue }
            waiting.append((position, link.index, name))
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

    /// Everything that comes before routes.
    private mutating func addAddresses(_ work: inout Work) throws(NetworkError) {
        // When it is switched on again later, the kernel tells the neighbours.
        try? Files.write("1", to: "/proc/sys/net/ipv4/conf/\(work.link.name)/arp_notify")
        try take(&work) { if case .addRoute = $0.request { true } else { false } }
    }

    /// Takes the steps that are left, up to the first that is `last`.
    private mutating func take(_ work: inout Work, before last: (WantedInterface.Step) -> Bool) throws(NetworkError) {
        while let step = work.steps.first, !last(step) {
            work.steps.removeFirst()
            do throws(NetworkError) { _ = try socket.exchange(step.request, step.operation, step.object) } catch {
                if !(error.errno.map { step.harmless.contains($0.rawValue) } ?? false) {
                    if !step.isOptional { throw error }
                    work.report.refused.append(error.description)
                    continue
                }
            }
            switch step.part {
            case .none: break
            case .address(let position):
                work.report.addressesSet.append(position)
                let prefix = work.wanted.addresses[position]
                if prefix.address.isIPv4, !work.wanted.present.addresses.contains(prefix) {
                    announcements.append(Announcement(link: work.link, address: prefix.address))
                }
            case .route(let position): work.report.routesSet.append(position)
            }
        }
    }

    /// Sets the routes of each, once its IPv6 addresses can be used, which all wait for at the same time.
    private mutating func finish(_ waiting: [Work], _ report: (InterfaceReport) -> Void) {
        var waiting = waiting
        let deadline = Deadline.after(milliseconds: Configurator.duplicatePatience)
        while !waiting.isEmpty {
            var addresses: [LinkAddress] = []
            var failure: NetworkError?
            do throws(NetworkError) {
                addresses = try socket.exchange(.addresses6, "list", "IPv6 addresses").compactMap {
                    if case .address(let address) = $0 { address } else { nil }
                }
            } catch { failure = error }
            var left: [Work] = []
            for var work in waiting {
                do throws(NetworkError) {
                    if let failure { throw failure }
                    // Without a cable nobody answers, and the kernel goes on asking when there is one.
                    if try isTentative(work, addresses), !deadline.hasPassed {
                        left.append(work)
                        continue
                    }
                    try take(&work) { _ in false }
                } catch { work.report.outcome = .failed(error) }
                report(work.report)
            }
            waiting = left
            if !waiting.isEmpty { _ = poll(nil, 0, 20) }
        }
    }

    /// Whether it is not known yet that nobody else has its IPv6 addresses; one that somebody else has is an error.
    private func isTentative(_ work: Work, _ addresses: [LinkAddress]) throws(NetworkError) -> Bool {
        let own = addresses.filter { $0.index == work.link.index && work.wanted.addresses.contains($0.prefix) }
        if let duplicate = own.first(where: { $0.isDuplicate }) {
            throw NetworkError("add address", "\(duplicate.prefix.text) to \(work.link.name)", "another machine on the network has it")
        }
        return own.contains { $0.isTentative }
    }
}

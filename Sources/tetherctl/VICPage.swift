import ContainerSpec
import Foundation
import SessionLog
import VIC

/// A configuration of VIC's for people to read.
struct VICPage {
    private var lines: [String] = []
    private let isOpen: Bool

    /// - Parameter revealing: secrets, too: the host key, and values in the environment whose names sound like it.
    static func text(_ reading: VICReading, revealing: Bool, ignored: [String]) -> String {
        var page = VICPage(isOpen: revealing)
        page.write(reading, ignored)
        return page.lines.joined(separator: "\n") + "\n"
    }

    private init(isOpen: Bool) { self.isOpen = isOpen }

    private mutating func section(_ title: String) { lines += (lines.isEmpty ? [] : [""]) + [title] }

    /// A line of the section; one that says nothing is left out.
    private mutating func line(_ name: String, _ value: String) {
        if value.isEmpty { return }
        lines.append("  " + name.padding(toLength: max(name.count, 14), withPad: " ", startingAt: 0) + " " + Self.printable(value))
    }

    /// Control characters could steer the terminal.
    static func printable(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { result, scalar in
            if scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format {
                result += scalar == "\n" ? "\\n" : scalar == "\t" ? "\\t" : "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }

    private mutating func write(_ reading: VICReading, _ ignored: [String]) {
        let config = reading.config
        section("Container \(Self.printable(config.id))")
        line("host name", config.domainname.isEmpty ? config.hostname : "\(config.hostname).\(config.domainname)")
        line("image", [config.repository, config.imageID].filter { !$0.isEmpty }.joined(separator: " "))
        line("layer", config.layerID)
        line("created", config.createTime == 0 ? "" : Timestamp(nanoseconds: config.createTime).text)
        line(
            "host key",
            config.hostKey.isEmpty
                ? "" : isOpen ? String(decoding: config.hostKey, as: UTF8.self) : "(\(config.hostKey.count) bytes, hidden)")
        line("debug", config.diagnostics.debug == 0 ? "" : "\(config.diagnostics.debug)")
        line("syslog", config.diagnostics.syslog.map { "\($0.network) \($0.address)" } ?? "")
        line("VIC", config.version.map { "\($0.version) plugin \($0.pluginVersion)" } ?? "")
        line("routing", config.asymmetricRouting ? "asymmetric" : "")
        for session in config.sessions { write(session, session.key == config.id ? "Session" : "Session beside it:") }
        for session in config.execs { write(session, "Exec") }
        for mount in config.mounts {
            section("Volume \(Self.printable(mount.key))")
            line("from", isOpen ? mount.source.text : Self.masked(mount.source))
            line("on", mount.destination)
            line("mode", mount.mode)
            line("copy", mount.copyMode == 2 ? "the image's files into an empty volume" : "")
        }
        for network in config.networks { write(network) }
        if !reading.warnings.isEmpty || !ignored.isEmpty { section("Notes") }
        for warning in reading.warnings { lines.append("  " + Self.printable(warning.description)) }
        for key in ignored {
            let isSecret = key.lowercased().hasSuffix(VICKey.secretSuffix)
            lines.append((isSecret ? "  encrypted, and not read: " : "  not one of a container's keys: ") + Self.printable(key))
        }
    }

    private mutating func write(_ session: VICSession, _ title: String) {
        section("\(title) \(Self.printable(session.key))")
        line("problem", session.problem ?? "")
        line("command", session.path)
        line("arguments", session.args.map { "\"\($0)\"" }.joined(separator: " "))
        for variable in session.env { line("environment", isOpen ? variable : Self.masked(variable)) }
        line("directory", session.directory)
        line("user", session.group.isEmpty ? session.user : "\(session.user):\(session.group)")
        line("stop signal", session.stopSignal)
        let flags = [
            ("terminal", session.tty), ("stdin open", session.openStdin), ("attach", session.attach),
            ("waits to be attached to", session.runBlock),
            ("starts again", session.restart), ("not active", !session.active),
        ]
        line("flags", flags.filter { $0.1 }.map { $0.0 }.joined(separator: ", "))
        let state =
            session.started == "true"
            ? (session.stopTime == 0 ? "runs" : "has ended with \(session.exitStatus)")
            : session.started.isEmpty ? "" : "was not started: \(session.started)"
        line("state", state)
        line("created", Self.date(session.createTime))
        line("started", Self.date(session.startTime))
        line("ended", Self.date(session.stopTime))
        line("restarts", session.diagnostics.resurrections == 0 ? "" : "\(session.diagnostics.resurrections)")
        for entry in session.diagnostics.exitLogs { line("earlier end", "\(entry.time.text) \(entry.exitStatus) \(entry.message)") }
    }

    private mutating func write(_ endpoint: VICNetworkEndpoint) {
        section("Network \(Self.printable(endpoint.key))")
        line("adapter", endpoint.id.isEmpty ? endpoint.name : "PCI slot \(endpoint.id) \(endpoint.name)")
        line("type", endpoint.network.type)
        let hasAddress = endpoint.ip.map { !$0.ip.bytes.isEmpty && !$0.ip.isUnspecified } ?? false
        line("address", hasAddress ? endpoint.ip?.text ?? "" : endpoint.isStatic ? "managed outside" : "by DHCP")
        let assigned = [
            endpoint.assigned.text ?? "", endpoint.network.assignedGateway.ip.text.map { "by \($0)" } ?? "",
            endpoint.network.assignedNameservers.isEmpty
                ? "" : "name servers " + endpoint.network.assignedNameservers.compactMap { $0.text }.joined(separator: " "),
        ]
        line("assigned", assigned.filter { !$0.isEmpty }.joined(separator: ", "))
        line(
            "gateway",
            [endpoint.network.gateway.text ?? "", endpoint.network.isDefault ? "(default)" : ""].filter { !$0.isEmpty }.joined(
                separator: " "))
        line("reaches", endpoint.network.destinations.compactMap { $0.text }.joined(separator: " "))
        line("name servers", endpoint.network.nameservers.compactMap { $0.text }.joined(separator: " "))
        line("pools", endpoint.network.pools.map { "\($0.first.text ?? "?")-\($0.last.text ?? "?")" }.joined(separator: " "))
        line("ports", endpoint.ports.joined(separator: " "))
        let level = endpoint.network.trustLevel
        line("trust", level == 0 ? "" : VICTrust(rawValue: level)?.description ?? "\(level)")
    }

    private static func date(_ seconds: Int64) -> String {
        let (nanoseconds, isTooLate) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return seconds == 0 ? "" : isTooLate ? "\(seconds)" : Timestamp(nanoseconds: nanoseconds).text
    }

    /// `NAME=value` without the value of one whose name sounds like a secret.
    private static func masked(_ variable: String) -> String {
        let name = variable.prefix { $0 != "=" }
        let words = ["PASS", "PWD", "SECRET", "TOKEN", "KEY", "CRED", "AUTH", "PRIVATE"]
        let isSecret = name != "PWD" && words.contains { name.uppercased().contains($0) }
        return isSecret && name.count < variable.count ? "\(name)=(hidden)" : variable
    }

    /// A URL without the password that may stand in front of its host.
    private static func masked(_ url: VICURL) -> String {
        var url = url
        if let at = url.host.lastIndex(of: "@") { url.host = "(hidden)" + url.host[at...] }
        return url.text
    }
}

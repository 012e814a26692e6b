import CLinux

/// What depmod(8) wrote about the modules of one kernel: files, dependencies, aliases (modules.dep(5)).
public struct ModuleIndex: Sendable {
    /// The index files, as read.
    public struct Source: Sendable {
        public var dependencies: [UInt8] = []
        public var aliases: [UInt8] = []
        public var softDependencies: [UInt8] = []
        public init() {}
    }

    struct Module: Sendable {
        /// Relative to the index's folder.
        let path: String
        let dependencies: [String]
    }

    private struct Alias: Sendable {
        let pattern: String
        let module: String
    }

    private var modules: [String: Module] = [:]
    /// Aliases by what stands before the first colon, "pci" or "scsi": a search then looks at one bus only.
    private var aliases: [String: [Alias]] = [:]
    private var softDependencies: [String: (before: [String], after: [String])] = [:]

    /// Parses the index. Lines that are no entries are skipped, as modprobe(8) does.
    public init(_ source: Source) {
        ModuleIndex.forEachLine(source.dependencies) { words in
            // "kernel/drivers/scsi/sd_mod.ko: kernel/…/scsi_mod.ko kernel/…/scsi_common.ko"
            guard let first = words.first, first.utf8.last == UInt8(ascii: ":") else { return }
            let path = String(first.dropLast())
            let dependencies = words.dropFirst().map { ModuleIndex.name(ofPath: $0) }
            modules[ModuleIndex.name(ofPath: path)] = Module(path: path, dependencies: dependencies)
        }
        ModuleIndex.forEachLine(source.aliases) { words in
            // "alias pci:v000015ADd000007C0sv*sd*bc*sc*i* vmw_pvscsi"
            guard words.count == 3, words[0] == "alias" else { return }
            aliases[ModuleIndex.bus(of: words[1]), default: []].append(Alias(pattern: words[1], module: ModuleIndex.canonical(words[2])))
        }
        ModuleIndex.forEachLine(source.softDependencies) { words in
            // "softdep xfs pre: crc32c"
            guard words.count >= 4, words[0] == "softdep" else { return }
            var soft = softDependencies[ModuleIndex.canonical(words[1])] ?? (before: [], after: [])
            var isAfter = false
            for word in words.dropFirst(2) {
                switch word {
                case "pre:": isAfter = false
                case "post:": isAfter = true
                default: if isAfter { soft.after.append(word) } else { soft.before.append(word) }
                }
            }
            softDependencies[ModuleIndex.canonical(words[1])] = soft
        }
    }

    public var moduleCount: Int { modules.count }

    /// The path of a module's file, relative to the index's folder; nil for one that has none here.
    public func path(of name: String) -> String? { modules[ModuleIndex.canonical(name)]?.path }

    /// The modules that a name, an alias ("fs-ext4") or a device ("pci:v000015ADd…") asks for and that have a file here.
    /// Empty where there is nothing to load: the kernel contains it, or the image has no such module. modules.builtin would
    /// only tell the one from the other, so it is not read.
    public func modules(matching request: String) -> [String] {
        let name = ModuleIndex.canonical(request)
        if modules[name] != nil { return [name] }
        var found: [String] = []
        let bus = ModuleIndex.bus(of: request)
        for alias in aliases[bus] ?? [] where modules[alias.module] != nil && !found.contains(alias.module) {
            if fnmatch(alias.pattern, request, 0) == 0 { found.append(alias.module) }
        }
        return found
    }

    /// `name` and all that must be loaded before or after it, in the order of loading.
    ///
    /// - Parameter loaded: modules that need not be loaded any more.
    public func loadOrder(of name: String, without loaded: Set<String> = []) -> [String] {
        var order: [String] = []
        var visited = loaded
        append(ModuleIndex.canonical(name), to: &order, visited: &visited)
        return order
    }

    /// Depth first. `visited` holds a module from the moment it is entered, so that a circle of (soft) dependencies ends.
    private func append(_ name: String, to order: inout [String], visited: inout Set<String>) {
        guard let module = modules[name], visited.insert(name).inserted else { return }
        let soft = softDependencies[name]
        for request in soft?.before ?? [] { for match in modules(matching: request) { append(match, to: &order, visited: &visited) } }
        // modules.dep names the nearest first; what they need in turn stands behind them.
        for dependency in module.dependencies.reversed() { append(dependency, to: &order, visited: &visited) }
        order.append(name)
        for request in soft?.after ?? [] { for match in modules(matching: request) { append(match, to: &order, visited: &visited) } }
    }

    /// "kernel/fs/ext4/ext4.ko.xz" → "ext4".
    static func name(ofPath path: String) -> String {
        let file = path.utf8.split(separator: UInt8(ascii: "/")).last ?? path.utf8[...]
        return canonical(String(Substring(file.prefix { $0 != UInt8(ascii: ".") })))
    }

    /// The kernel takes "-" and "_" in names for the same.
    static func canonical(_ name: String) -> String {
        String(decoding: name.utf8.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
    }

    /// The letters and digits that an alias or a pattern begins with: "pci" of "pci:v…", "acpi" of "acpi*:PNP0C0C:*", "fs" of
    /// "fs-ext4". A request can only match a pattern of the same beginning: no pattern has its first wildcard inside it.
    private static func bus(of alias: String) -> String {
        let end = alias.utf8.firstIndex { byte in
            !(byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
        }
        return String(Substring(alias.utf8[..<(end ?? alias.utf8.endIndex)]))
    }

    private static func forEachLine(_ bytes: [UInt8], _ body: ([String]) -> Void) {
        for line in bytes.split(separator: 0x0A) where line.first != UInt8(ascii: "#") {
            body(line.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }.map { String(decoding: $0, as: UTF8.self) })
        }
    }
}

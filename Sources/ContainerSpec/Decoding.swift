extension ContainerSpec {
    /// Reads a configuration: an OCI runtime-spec `config.json` with an optional extension object `tether`.
    ///
    /// A property of the runtime-spec that tether does not honour is refused by name where it asks for something; one that
    /// neither knows is ignored, as the runtime-spec wants it, except in `tether`, where it is taken for a slip of the pen.
    /// - Parameter warnings: receives a note on each ignored property, at most ``SpecError/limit`` of them.
    /// - Throws: ``SpecError`` with everything that is wrong.
    public static func decode(_ bytes: [UInt8], warnings: inout [SpecIssue]) throws(SpecError) -> ContainerSpec {
        let document = try JSONValue.parse(bytes)
        guard case .object(let members) = document else {
            throw SpecError(issues: [SpecIssue(.invalid, "", "expected an object, found \(document.summary)")])
        }
        let issues = IssueList()
        let spec = decode(ObjectReader(members: members, path: "", issues: issues))
        warnings.append(contentsOf: issues.warnings)
        if !issues.issues.isEmpty { throw SpecError(issues: issues.issues, omitted: issues.omitted) }
        return spec
    }

    /// As ``decode(_:warnings:)``, without the warnings.
    public static func decode(_ bytes: [UInt8]) throws(SpecError) -> ContainerSpec {
        var warnings: [SpecIssue] = []
        return try decode(bytes, warnings: &warnings)
    }

    private static func decode(_ reader: ObjectReader) -> ContainerSpec {
        var spec = ContainerSpec(args: [])
        if let version = reader.string("ociVersion") {
            spec.ociVersion = version
            if !isSupportedVersion(version) {
                reader.report(.invalid, "ociVersion", "expected a version 1.x.y of the runtime-spec, found \(quoted(version))")
            }
        } else if reader.value("ociVersion") == nil {
            reader.report(.missing, "ociVersion", "required: the version of the OCI runtime-spec, for example \"1.2.0\"")
        }
        if let process = reader.object("process") {
            spec.process = ContainerProcess(process)
        } else if reader.value("process") == nil {
            reader.report(.missing, "process", "required: the process to run")
        }
        if let root = reader.object("root") { spec.root = ContainerRoot(root) }
        spec.hostname = reader.hostName("hostname")
        spec.domainname = reader.hostName("domainname")
        spec.mounts = (reader.objects("mounts") ?? []).map { ContainerMount($0) }
        if let annotations = reader.object("annotations") { spec.annotations = annotations.keyValues() }
        if let hooks = reader.object("hooks") { spec.hooks = ContainerHooks(hooks) }
        if let linux = reader.object("linux") { spec.decodeLinux(linux) }
        spec.checkNamespaces(reader)
        if let hostname = spec.hostname { spec.tether.id = hostname }
        if let tether = reader.object("tether") { spec.tether.decode(tether) }
        reader.refuse(["windows", "solaris", "vm", "zos", "freebsd"], "not honoured: the container is a Linux process in this VM")
        reader.warnOfUnknown([
            "ociVersion", "process", "root", "hostname", "domainname", "mounts", "annotations", "linux", "tether", "hooks",
            "windows", "solaris", "vm", "zos", "freebsd",
        ])
        return spec
    }

    /// Whether `text` is a semantic version 1.x.y, perhaps with a pre-release or build part.
    private static func isSupportedVersion(_ text: String) -> Bool {
        let core = text.utf8.prefix { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "+") }
        let numbers = core.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard numbers.count == 3, numbers[0].elementsEqual("1".utf8) else { return false }
        return numbers.allSatisfy { number in
            !number.isEmpty && number.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        }
    }

    private mutating func decodeLinux(_ reader: ObjectReader) {
        if let entries = reader.objects("namespaces") {
            namespaces = ContainerNamespaces(entries, reader.path("namespaces"), reader.issues)
        }
        maskedPaths = reader.strings("maskedPaths", check: pathProblem) ?? maskedPaths
        readonlyPaths = reader.strings("readonlyPaths", check: pathProblem) ?? readonlyPaths
        uidMappings = IDMapping.list(reader, "uidMappings")
        gidMappings = IDMapping.list(reader, "gidMappings")
        if let offsets = reader.object("timeOffsets") { timeOffsets = TimeOffsets(offsets) }
        rootfsPropagation = reader.choice("rootfsPropagation", MountPropagation.words)
        // Where the container's cgroup is says nothing to anyone: there is one container, and its cgroup is its namespace's root.
        _ = reader.string("cgroupsPath")
        if let settings = reader.object("sysctl") { sysctl = ContainerSpec.sysctl(settings) }
        devices = ContainerDevice.list(reader)
        if let limits = reader.object("resources") { resources = ContainerResources(limits) }
        if let object = reader.object("personality") { personality = Personality.read(object) }
        if let profile = reader.object("seccomp"), !JSONValue.object(profile.members).asksForNothing { seccomp = SeccompProfile(profile) }
        reader.refuse(["intelRdt"], "not honoured: caches and memory bandwidth are the hypervisor's to divide, a VM has no resctrl")
        reader.refuse(["netDevices"], "not honoured: the container uses the VM's network, so there is nowhere to move a device to")
        reader.refuse(
            ["memoryPolicy"], "not honoured: where a VM's memory lies is the hypervisor's choice; resources.cpu.mems restricts its nodes")
        reader.refuse(["mountLabel"], "not honoured: no SELinux policy is loaded in the VM that could know the label")
        reader.warnOfUnknown([
            "namespaces", "maskedPaths", "readonlyPaths", "uidMappings", "gidMappings", "timeOffsets", "rootfsPropagation",
            "cgroupsPath", "sysctl", "devices", "resources", "personality", "seccomp", "intelRdt", "netDevices", "memoryPolicy",
            "mountLabel",
        ])
    }
}

extension ObjectReader {
    /// A name for sethostname(2): letters, digits, "-", "_" and ".", at most 64 bytes. nil for "" too, which sets none.
    func hostName(_ name: String) -> String? {
        guard let text = string(name), !text.isEmpty else { return nil }
        // HOST_NAME_MAX and the kernel's limit on the domain name are both 64.
        if isPlainName(text, limit: 64) { return text }
        let expected = "expected at most 64 letters, digits, \"-\", \"_\" and \".\", first a letter or digit"
        report(.invalid, name, "\(expected), found \(quoted(text))")
        return nil
    }
}

/// Whether `text` has 1…`limit` bytes, all letters, digits, "-", "_" or ".", and begins with a letter or digit.
public func isPlainName(_ text: String, limit: Int) -> Bool {
    guard text.utf8.count <= limit, let first = text.utf8.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "."),
        first != UInt8(ascii: "_")
    else { return false }
    return text.utf8.allSatisfy {
        $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z")
            || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
            || $0 == UInt8(ascii: ".")
    }
}

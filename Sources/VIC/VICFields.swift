import SessionLog

/// Goes over the fields of a configuration, to read each one from its key or to write it there.
///
/// One description of the keys serves both directions, so that they cannot disagree.
protocol VICFieldCoder {
    mutating func string(_ name: String, _ access: VICAccess, _ value: inout String)
    /// `true` or `false`.
    mutating func bool(_ name: String, _ access: VICAccess, _ value: inout Bool)
    /// In decimal; durations are nanoseconds.
    mutating func integer(_ name: String, _ access: VICAccess, _ value: inout Int64)
    /// Go's text of a time.
    mutating func time(_ name: String, _ access: VICAccess, _ value: inout Timestamp)
    /// In base64.
    mutating func bytes(_ name: String, _ access: VICAccess, _ value: inout [UInt8])
    /// In base64, 4 or 16 bytes.
    mutating func address(_ name: String, _ access: VICAccess, _ value: inout VICAddress)
    /// A list of strings: their number less one, and under `~` they themselves.
    mutating func strings(_ name: String, _ kind: VICListKind, _ value: inout [String])
    /// A list of addresses: the number less one, and each under its index.
    mutating func addresses(_ name: String, _ access: VICAccess, _ value: inout [VICAddress])
    /// The fields of a structure in this one.
    mutating func structure(_ name: String, _ access: VICAccess, _ body: (inout Self) -> Void)
    /// A structure that may be absent.
    mutating func optional<Value: VICFields>(_ name: String, _ access: VICAccess, _ value: inout Value?)
    /// A list of structures: the number less one, and each under its index.
    mutating func list<Value: VICFields>(_ name: String, _ access: VICAccess, _ value: inout [Value])
    /// A map of structures: the keys, and each under its own.
    mutating func map<Value: VICElement>(_ name: String, isNonPersistent: Bool, _ value: inout [Value])
    /// Fields that only people and other programs want to know.
    mutating func information(_ body: (inout Self) -> Void)
}

/// What strings in a list look like, which helps where one of them has a `|` in it.
enum VICListKind {
    case arguments, environment, other
}

/// A structure with fields.
protocol VICFields {
    init()
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder)
}

/// A structure in a map.
protocol VICElement: VICFields {
    var key: String { get set }
    /// Only what can change while it runs.
    mutating func changingFields<Coder: VICFieldCoder>(_ coder: inout Coder)
    /// The container runs without it, too, and so what is wrong with its keys is no more than a warning.
    static var isOptional: Bool { get }
    /// What is wrong with its keys; where they are its own affair and not that of the whole configuration.
    var problem: String? { get set }
}

extension VICElement {
    mutating func changingFields<Coder: VICFieldCoder>(_ coder: inout Coder) { fields(&coder) }
    static var isOptional: Bool { false }
    var problem: String? {
        get { nil }
        set {}
    }
}

extension VICExecutorConfig: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.structure("common", .readOnly) {
            $0.string("id", .readOnly, &id)
            $0.information { $0.string("ExecutionEnvironment", .inherited, &executionEnvironment) }
        }
        coder.information { $0.integer("createtime", .readWrite, &createTime) }
        coder.structure("diagnostics", .readOnly) { diagnostics.fields(&$0) }
        coder.map("sessions", isNonPersistent: false, &sessions)
        coder.map("execs", isNonPersistent: true, &execs)
        coder.map("mounts", isNonPersistent: false, &mounts)
        coder.map("networks", isNonPersistent: false, &networks)
        coder.bytes("key", .readOnly, &hostKey)
        coder.information {
            $0.string("layerid", .readOnly, &layerID)
            $0.string("imageid", .readOnly, &imageID)
            $0.string("repo", .readOnly, &repository)
            $0.optional("version", .readOnly, &version)
        }
        coder.bool("asymrouting", .readOnly, &asymmetricRouting)
        coder.string("hostname", .readOnly, &hostname)
        coder.string("domainname", .readOnly, &domainname)
    }
}

extension VICSession: VICElement {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.information { coder in
            coder.structure("common", .readOnly) {
                $0.string("id", .readOnly, &id)
                $0.string("name", .readOnly, &name)
                $0.string("ExecutionEnvironment", .inherited, &executionEnvironment)
            }
        }
        coder.structure("cmd", .readOnly) {
            $0.string("Path", .readOnly, &path)
            $0.strings("Args", .arguments, &args)
            $0.strings("Env", .environment, &env)
            $0.string("Dir", .readOnly, &directory)
        }
        // Every session can be attached to.
        coder.information { $0.bool("attach", .readOnly, &attach) }
        coder.bool("openstdin", .readOnly, &openStdin)
        coder.bool("runblock", .readWrite, &runBlock)
        coder.bool("tty", .readOnly, &tty)
        coder.bool("restart", .readOnly, &restart)
        coder.string("stopSignal", .readOnly, &stopSignal)
        coder.string("User", .readOnly, &user)
        coder.string("Group", .readOnly, &group)
        changingFields(&coder)
        coder.structure("diagnostics", .readOnly) { diagnostics.fields(&$0) }
        coder.structure("detail", .readWrite) {
            $0.integer("createtime", .readWrite, &createTime)
            // What was is no part of what is to be: after a reset a session runs anew.
            $0.information {
                $0.integer("starttime", .readWrite, &startTime)
                $0.integer("stoptime", .readWrite, &stopTime)
            }
        }
        coder.information {
            $0.integer("status", .readWrite, &exitStatus)
            $0.string("started", .readWrite, &started)
        }
    }

    mutating func changingFields<Coder: VICFieldCoder>(_ coder: inout Coder) { coder.bool("active", .readOnly, &active) }
}

extension VICDiagnostics: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.integer("debug", .readOnly, &debug)
        coder.information {
            $0.integer("resurrections", .readWrite, &resurrections)
            $0.list("exitlogs", .readWrite, &exitLogs)
        }
        coder.optional("syslog", .readOnly, &syslog)
    }
}

extension VICExitLog: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.time("Time", .inherited, &time)
        coder.integer("ExitStatus", .inherited, &exitStatus)
        coder.string("Message", .inherited, &message)
    }
}

extension VICSyslog: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.string("RAddr", .inherited, &address)
        coder.string("Network", .inherited, &network)
    }
}

extension VICVersion: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.string("Version", .inherited, &version)
        coder.string("GitCommit", .inherited, &gitCommit)
        coder.string("BuildDate", .inherited, &buildDate)
        coder.string("BuildNumber", .inherited, &buildNumber)
        coder.string("State", .inherited, &state)
        coder.integer("PluginVersion", .inherited, &pluginVersion)
    }
}

extension VICMount: VICElement {
    static var isOptional: Bool { true }

    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.structure("source", .readOnly) { source.fields(&$0) }
        coder.string("dest", .readOnly, &destination)
        coder.string("mode", .readOnly, &mode)
        coder.integer("copymode", .readOnly, &copyMode)
    }
}

extension VICURL: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.string("Scheme", .inherited, &scheme)
        coder.string("Host", .inherited, &host)
        coder.string("Path", .inherited, &path)
        coder.string("RawQuery", .inherited, &rawQuery)
        coder.information {
            $0.string("Opaque", .inherited, &opaque)
            $0.string("RawPath", .inherited, &rawPath)
            $0.bool("ForceQuery", .inherited, &forceQuery)
            $0.string("Fragment", .inherited, &fragment)
        }
    }
}

extension VICNetworkEndpoint: VICElement {
    static var isOptional: Bool { true }

    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        // An embedded structure without a key of its own is named as its type is.
        coder.structure("Common", .readOnly) {
            $0.string("id", .readOnly, &id)
            $0.string("name", .readOnly, &name)
            $0.information { $0.string("ExecutionEnvironment", .inherited, &executionEnvironment) }
        }
        coder.bool("static", .readOnly, &isStatic)
        coder.optional("ip", .readOnly, &ip)
        coder.information { coder in coder.structure("assigned", .readWrite) { assigned.fields(&$0) } }
        coder.structure("network", .readOnly) { network.fields(&$0) }
        coder.strings("ports", .other, &ports)
        coder.bool("internal", .readOnly, &isInternal)
    }
}

extension VICNetwork: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.structure("Common", .readOnly) {
            $0.string("name", .readOnly, &name)
            $0.information {
                $0.string("id", .readOnly, &id)
                $0.string("ExecutionEnvironment", .inherited, &executionEnvironment)
            }
        }
        coder.information { $0.string("type", .readWrite, &type) }
        coder.list("destinations", .readOnly, &destinations)
        coder.structure("gateway", .readOnly) { gateway.fields(&$0) }
        coder.bool("default", .readOnly, &isDefault)
        coder.addresses("dns", .readOnly, &nameservers)
        coder.information { $0.list("pools", .readOnly, &pools) }
        coder.integer("TrustLevel", .inherited, &trustLevel)
        coder.information { coder in
            coder.structure("assigned", .readWrite) {
                $0.structure("gateway", .readWrite) { assignedGateway.fields(&$0) }
                $0.addresses("dns", .readWrite, &assignedNameservers)
            }
        }
    }
}

extension VICAddressRange: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.address("IP", .inherited, &ip)
        coder.address("Mask", .inherited, &mask)
    }
}

extension VICAddressPool: VICFields {
    mutating func fields<Coder: VICFieldCoder>(_ coder: inout Coder) {
        coder.address("first", .readOnly, &first)
        coder.address("last", .readOnly, &last)
    }
}

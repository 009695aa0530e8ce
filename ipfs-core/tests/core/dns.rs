//! The resolver of names, against a small server, and over HTTP in memory.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, TXT},
    },
};
use ipfs_core::{
    DnsResolver, Error, Resolver, TokioRuntime, VirtualRuntime, conformance, limits::MAX_RECORDS,
    memory::MemoryHttp,
};

fn runtime() -> Arc<TokioRuntime> {
    Arc::new(TokioRuntime::current().unwrap())
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn txt(text: &[&[u8]]) -> RData {
    RData::TXT(TXT::from_bytes(text.to_vec()))
}

/// What the world's only server says.
fn answer(question: &Query) -> (ResponseCode, Vec<Record>) {
    let of = |ttl, data| Record::from_rdata(question.name().clone(), ttl, data);
    let text = question.name().to_lowercase().to_ascii();
    let records = match (text.as_str(), question.query_type()) {
        ("_dnslink.example.com.", RecordType::TXT) => vec![
            of(300, txt(&[b"dnslink=", b"/ipfs/bafkqaaa"])),
            of(60, txt(&[b"\xff not UTF-8"])),
            of(120, txt(&[b"another"])),
        ],
        ("alias.example.com.", RecordType::TXT) => {
            let real = name("real.example.com.");
            let alias = of(30, RData::CNAME(CNAME(real.clone())));
            vec![alias, Record::from_rdata(real, 90, txt(&[b"of the real one"]))]
        }
        ("xn--bcher-kva.example.", RecordType::TXT) => vec![of(1, txt(&[b"books"]))],
        ("many.example.com.", RecordType::TXT) => {
            (0..200).map(|i| of(5, txt(&[i.to_string().as_bytes()]))).collect()
        }
        ("host.example.com.", RecordType::A) => vec![of(70, RData::A(A::new(192, 0, 2, 1)))],
        ("host.example.com.", RecordType::AAAA) => {
            vec![of(50, RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)))]
        }
        ("refused.example.com.", _) => return (ResponseCode::Refused, Vec::new()),
        ("host.example.com.", _) => Vec::new(),
        _ => return (ResponseCode::NXDomain, Vec::new()),
    };
    (ResponseCode::NoError, records)
}

fn reply(question: &Message) -> Message {
    let (code, records) = answer(&question.queries[0]);
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.metadata.response_code = code;
    reply.metadata.recursion_available = true;
    reply.add_query(question.queries[0].clone());
    reply.add_answers(records);
    reply
}

/// A server over UDP, as long as the process lives.
fn server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let question = Message::from_vec(&buffer[..len]).unwrap();
            let reply = reply(&question).to_vec().unwrap();
            socket.send_to(&reply, from).unwrap();
        }
    });
    address
}

const URL: &str = "https://dns.example/dns-query";

/// The URL of a question over HTTPS.
fn url(question: &str, kind: RecordType) -> (String, Message) {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(question), kind));
    (format!("{URL}?dns={}", BASE64URL_NOPAD.encode(&message.to_vec().unwrap())), message)
}

/// The same server over HTTP.
fn http() -> MemoryHttp {
    let http = MemoryHttp::new();
    let names = [
        "_dnslink.example.com.",
        "alias.example.com.",
        "xn--bcher-kva.example.",
        "many.example.com.",
        "host.example.com.",
        "refused.example.com.",
        "absent.example.com.",
    ];
    for name in names {
        for kind in [RecordType::TXT, RecordType::A, RecordType::AAAA] {
            let (url, question) = url(name, kind);
            http.serve(url, reply(&question).to_vec().unwrap());
        }
    }
    http
}

async fn answers_as_it_should(resolver: &DnsResolver) {
    let texts = async |name: &str| {
        let records = resolver.txt(name).await.unwrap();
        (records.values, records.ttl.as_secs())
    };
    let link = (vec!["dnslink=/ipfs/bafkqaaa".to_owned(), "another".to_owned()], 60);
    for name in ["_dnslink.example.com", "_dnslink.example.com.", "_DNSLink.Example.com"] {
        assert_eq!(texts(name).await, link, "{name}");
    }
    assert_eq!(texts("alias.example.com").await, (vec!["of the real one".into()], 30));
    assert_eq!(texts("bücher.example").await, (vec!["books".into()], 1));
    assert_eq!(texts("absent.example.com").await, (Vec::new(), 0));
    assert_eq!(texts("host.example.com").await, (Vec::new(), 0));
    let addresses = resolver.addresses("host.example.com").await.unwrap();
    let expected: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!((addresses.values, addresses.ttl.as_secs()), (expected.into(), 50));
    assert!(resolver.addresses("absent.example.com").await.unwrap().values.is_empty());
    let refused = resolver.txt("refused.example.com").await;
    assert!(matches!(refused, Err(Error::Component { .. })), "{refused:?}");
    for wrong in ["", ".", "a..b", &"x".repeat(300), &"long.".repeat(100)] {
        let answer = resolver.txt(wrong).await;
        assert!(matches!(answer, Err(Error::Invalid { .. })), "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn servers_are_asked() {
    let resolver = DnsResolver::servers(runtime(), [server()]).unwrap();
    answers_as_it_should(&resolver).await;
    assert!(matches!(DnsResolver::servers(runtime(), []), Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_server_over_https_is_asked() {
    let client = Arc::new(http());
    let resolver = DnsResolver::https(runtime(), client.clone(), URL).unwrap();
    answers_as_it_should(&resolver).await;
    let many = resolver.txt("many.example.com").await.unwrap();
    assert_eq!(many.values.len(), MAX_RECORDS);
    let template = format!("{URL}{{?dns}}");
    let resolver = DnsResolver::https(runtime(), client.clone(), &template).unwrap();
    answers_as_it_should(&resolver).await;
    for wrong in ["", "/dns-query", "no URL"] {
        let made = DnsResolver::https(runtime(), client.clone(), wrong);
        assert!(matches!(made, Err(Error::Invalid { .. })), "{wrong}");
    }
}

#[tokio::test]
async fn a_resolver_of_names() {
    conformance::resolver(|zone| async move {
        let http = MemoryHttp::new();
        for (name, texts, ttl) in zone {
            let (url, question) = url(&format!("{name}."), RecordType::TXT);
            let mut reply = Message::response(0, OpCode::Query);
            reply.add_query(question.queries[0].clone());
            for text in texts {
                let of = question.queries[0].name().clone();
                let data = txt(&text.as_bytes().chunks(255).collect::<Vec<_>>());
                reply.add_answer(Record::from_rdata(of, ttl.as_secs() as u32, data));
            }
            http.serve(url, reply.to_vec().unwrap());
        }
        for kind in [RecordType::TXT, RecordType::A, RecordType::AAAA] {
            let (url, question) = url("absent.example.com.", kind);
            http.serve(url, reply(&question).to_vec().unwrap());
        }
        DnsResolver::https(runtime(), Arc::new(http), URL)
    })
    .await
    .unwrap();
}

/// Names below some name have a server of their own, the longest name first.
#[tokio::test]
async fn each_name_has_its_server() {
    let serve = |host: &str, text: &str| {
        let http = MemoryHttp::new();
        for name in ["a.eth.", "a.b.eth.", "a.example.", "eth.", "teth."] {
            let (url, question) = url(name, RecordType::TXT);
            let mut reply = reply(&question);
            reply.metadata.response_code = ResponseCode::NoError;
            let of = question.queries[0].name().clone();
            reply.add_answer(Record::from_rdata(of, 1, txt(&[text.as_bytes()])));
            http.serve(url.replace("dns.example", host), reply.to_vec().unwrap());
        }
        Arc::new(http)
    };
    let resolver = DnsResolver::https(runtime(), serve("dns.example", "any"), URL)
        .unwrap()
        .with_https("eth", serve("eth.one", "eth"), "https://eth.one/dns-query")
        .unwrap()
        .with_https("b.eth.", serve("b.one", "b.eth"), "https://b.one/dns-query")
        .unwrap();
    for (name, by) in [
        ("a.example", "any"),
        ("teth", "any"),
        ("eth", "eth"),
        ("a.eth", "eth"),
        ("a.b.eth.", "b.eth"),
    ] {
        assert_eq!(resolver.txt(name).await.unwrap().values, [by], "{name}");
    }
}

/// A server that says what is no answer, too much, or nothing.
#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let http = MemoryHttp::new();
    let resolver = DnsResolver::https(runtime(), Arc::new(http.clone()), URL).unwrap();
    let (url, question) = url("hostile.example.com.", RecordType::TXT);
    assert!(matches!(resolver.txt("hostile.example.com").await, Err(Error::Component { .. })));
    let whole = reply(&question).to_vec().unwrap();
    for wrong in [&b""[..], b"<html>", &whole[..whole.len() - 1], &[0xff; 512]] {
        http.serve(&url, wrong.to_vec());
        let answer = resolver.txt("hostile.example.com").await;
        assert!(matches!(answer, Err(Error::Malformed { .. })), "{wrong:x?}: {answer:?}");
    }
    http.serve(&url, vec![0; 65_536]);
    let answer = resolver.txt("hostile.example.com").await;
    assert!(matches!(answer, Err(Error::Limit { .. })), "{answer:?}");
}

/// A server that never answers ends nobody's patience but its own.
#[test]
fn a_silent_server_is_given_up() {
    let runtime = VirtualRuntime::new();
    let client = Arc::new(Silent);
    let resolver = DnsResolver::https(Arc::new(runtime.clone()), client, URL).unwrap();
    let asked = resolver.clone().timeout(Duration::from_secs(3600));
    let answer = runtime.block_on(asked.txt("example.com")).unwrap();
    assert!(matches!(answer, Err(Error::TimedOut(_))));
}

#[derive(Debug)]
struct Silent;

#[ipfs_core::async_trait]
impl ipfs_core::HttpClient for Silent {
    async fn send(
        &self,
        _: http::Request<ipfs_core::Bytes>,
    ) -> ipfs_core::Result<http::Response<ipfs_core::HttpBody>> {
        std::future::pending().await
    }
}

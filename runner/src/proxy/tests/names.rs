use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::super::responder::{Way, answer};
use super::scene::{Given, Scene, run};

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new();
    message
        .set_id(7)
        .set_message_type(MessageType::Query)
        .set_op_code(OpCode::Query)
        .set_recursion_desired(true);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

async fn ask(scene: &Scene, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
    let bytes = answer(&scene.server, &question(name, kind), Way::Udp).await.unwrap();
    let message = Message::from_vec(&bytes).unwrap();
    assert_eq!((message.id(), message.queries().len()), (7, 1));
    (message.response_code(), message.answers().iter().map(|record| record.data().to_string()).collect())
}

const RULES: &str = "allow connect *.example:443, localhost:5432\ndeny connect never.example as shut";

async fn scene(nameserver: Option<std::net::SocketAddr>) -> Scene {
    let hosts = [("a.example", "192.0.2.1"), ("b.example", "192.0.2.2"), ("inner.example", "10.0.0.1")];
    Scene::new(Given { rules: RULES, hosts: &hosts, nameserver, ..Given::default() }).await
}

#[test]
fn names_that_are_allowed_have_an_address_and_others_do_not_exist() {
    run(async {
        let scene = scene(None).await;
        let (code, first) = ask(&scene, "a.example.", RecordType::A).await;
        assert_eq!((code, first.len()), (ResponseCode::NoError, 1));
        assert!(first[0].starts_with("198.19."), "{first:?}");
        assert_eq!(ask(&scene, "A.eXample.", RecordType::A).await.1, first);
        assert_ne!(ask(&scene, "b.example.", RecordType::A).await.1, first);
        assert_eq!(ask(&scene, "inner.example.", RecordType::A).await.1.len(), 1);
        for kind in [RecordType::AAAA, RecordType::HTTPS, RecordType::SVCB, RecordType::MX] {
            assert_eq!(ask(&scene, "a.example.", kind).await, (ResponseCode::NoError, Vec::new()));
        }
        for unknown in
            ["nothere.example.", "never.example.", "other.test.", "example.", "com.", ".", "a\\.b.test."]
        {
            assert_eq!(
                ask(&scene, unknown, RecordType::A).await,
                (ResponseCode::NXDomain, Vec::new()),
                "{unknown}"
            );
        }
        let refused = scene.refused();
        assert_eq!(refused[0], "refused connect never.example: testing.fence:4 [shut]");
        assert_eq!(refused[1], "refused connect other.test: nothing allows it");
        assert_eq!(refused.len(), 4, "{refused:?}");
    });
}

#[test]
fn own_names_and_addresses_are_known() {
    run(async {
        let scene = scene(None).await;
        let first = ask(&scene, "a.example.", RecordType::A).await.1;
        let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
        for (name, kind, expected) in [
            ("localhost.", RecordType::A, "127.0.0.1"),
            ("x.localhost.", RecordType::A, "127.0.0.1"),
            ("localhost.", RecordType::AAAA, "::1"),
            (&format!("{host}."), RecordType::A, "127.0.0.1"),
            ("1.0.0.127.in-addr.arpa.", RecordType::PTR, "localhost."),
        ] {
            assert_eq!(ask(&scene, name, kind).await.1, [expected], "{name}");
        }
        let parts: Vec<&str> = first[0].split('.').rev().collect();
        let reverse = format!("{}.in-addr.arpa.", parts.join("."));
        assert_eq!(ask(&scene, &reverse, RecordType::PTR).await.1, ["a.example."]);
        assert_eq!(ask(&scene, "1.1.1.1.in-addr.arpa.", RecordType::PTR).await.0, ResponseCode::NXDomain);
    });
}

#[test]
fn what_is_no_question_gets_no_answer_and_a_broken_one_is_told() {
    run(async {
        let scene = scene(None).await;
        let whole = question("a.example.", RecordType::A);
        for end in 0..whole.len() {
            let answered = answer(&scene.server, &whole[..end], Way::Udp).await;
            let code = answered.map(|bytes| Message::from_vec(&bytes).unwrap().response_code());
            assert_eq!(code, (end >= 12).then_some(ResponseCode::FormErr), "{end}");
        }
        let mut response = whole.clone();
        response[2] |= 0x80;
        assert_eq!(answer(&scene.server, &response, Way::Udp).await, None);
        let mut update = whole.clone();
        update[2] = 5 << 3;
        let told = Message::from_vec(&answer(&scene.server, &update, Way::Udp).await.unwrap()).unwrap();
        assert_eq!(told.response_code(), ResponseCode::NotImp);
    });
}

#[test]
fn services_and_texts_of_allowed_names_are_asked_for_outside() {
    run(async {
        let nameserver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = nameserver.local_addr().unwrap();
        let asked = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let kept = asked.clone();
        tokio::task::spawn_local(async move {
            let mut buffer = [0; 2000];
            while let Ok((length, from)) = nameserver.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                kept.borrow_mut().push(question.queries()[0].name().to_ascii());
                let mut reply = Message::new();
                reply.set_id(question.id()).set_message_type(MessageType::Response);
                reply.add_queries(question.queries().to_vec());
                let name = question.queries()[0].name().clone();
                let text = vec!["x".repeat(200); 10];
                reply.add_answer(Record::from_rdata(name.clone(), 5, RData::TXT(TXT::new(text))));
                let stray = "192.0.2.1".parse().unwrap();
                reply.add_answer(Record::from_rdata(name, 5, RData::A(hickory_proto::rr::rdata::A(stray))));
                // A wrong one before the right one is not taken.
                let mut wrong = reply.clone();
                wrong.set_id(question.id().wrapping_add(1));
                nameserver.send_to(&wrong.to_vec().unwrap(), from).await.unwrap();
                nameserver.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let scene = scene(Some(address)).await;
        let bytes = answer(&scene.server, &question("a.example.", RecordType::TXT), Way::Tcp).await.unwrap();
        assert_eq!(Message::from_vec(&bytes).unwrap().answers().len(), 1);
        let bytes = answer(&scene.server, &question("a.example.", RecordType::TXT), Way::Udp).await.unwrap();
        assert!(Message::from_vec(&bytes).unwrap().truncated());
        assert_eq!(ask(&scene, "other.test.", RecordType::TXT).await.0, ResponseCode::NXDomain);
        assert_eq!(*asked.borrow(), ["a.example.", "a.example."]);
    });
}

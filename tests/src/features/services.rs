//! The services framework.

use super::world::{World, settle};
use async_nats::Client;
use async_nats::service::{Service, ServiceExt as _, error::Error};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;

super::scenarios!(service_request, service_errors, service_discovery);

/// A service whose endpoint echoes the request, or answers with an error where the request asks for one.
async fn service(world: &World) -> (Service, Client) {
    let reader = world.reader().await;
    let service = reader.service_builder().start(world.named(), "1.0.0");
    let service = service.await.unwrap();
    let mut requests = service.endpoint(world.subject("ask")).await.unwrap();
    settle(&reader).await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let asked = &request.message.payload;
            let answer = if asked.ends_with(b"wrong") {
                let status = "not like that".into();
                Err(Error { status, code: 400 })
            } else {
                Ok(Bytes::from([&asked[..], b" answered"].concat()))
            };
            request.respond(answer).await.unwrap();
        }
    });
    (service, world.publisher().await)
}

async fn service_request(world: World) {
    let (_service, agent) = service(&world).await;
    for number in 0..5 {
        let answer = agent
            .request(world.subject("ask"), world.said(number))
            .await;
        let expected = world.said(format!("{number} answered"));
        assert_eq!(answer.unwrap().payload, expected);
    }
}

async fn service_errors(world: World) {
    let (_service, agent) = service(&world).await;
    let answer = agent.request(world.subject("ask"), world.said("wrong"));
    let headers = answer.await.unwrap().headers.unwrap();
    let told = |name: &str| headers.get(name).unwrap().to_string();
    assert_eq!(told("Nats-Service-Error-Code"), "400");
    assert_eq!(told("Nats-Service-Error"), "not like that");
}

async fn service_discovery(world: World) {
    let (_service, agent) = service(&world).await;
    let asked = agent.request(world.subject("ask"), world.said("x"));
    asked.await.unwrap();
    for verb in ["PING", "INFO", "STATS"] {
        let subject = format!("$SRV.{verb}.{}", world.named());
        let answer = agent.request(subject, Bytes::new()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["name"], world.named(), "{verb}");
        match verb {
            "INFO" => assert_eq!(answer["endpoints"][0]["subject"], world.subject("ask")),
            "STATS" => assert_eq!(answer["endpoints"][0]["num_requests"], 1),
            _ => {}
        }
    }
}

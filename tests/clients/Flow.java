// Drive the checkout flow with the Java client that openapi-generator writes (library "native"), and print what came
// back. The test generates and compiles the client beside this program. Arguments: the address, a key.

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Base64;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.CheckoutSessionsApi;
import org.openapitools.client.model.CheckoutSession;
import org.openapitools.client.model.CheckoutSessionCreate;
import org.openapitools.client.model.CheckoutSessionList;
import org.openapitools.client.model.CheckoutSessionStatus;
import org.openapitools.client.model.CurrencyCode;
import org.openapitools.client.model.LineItemCreate;
import org.openapitools.client.model.PriceData;
import org.openapitools.client.model.ProductData;

public final class Flow {
  interface Call {
    Object send() throws ApiException;
  }

  public static void main(String[] arguments) throws Exception {
    ApiClient client = new ApiClient();
    client.updateBaseUri(arguments[0]);
    String credentials = Base64.getEncoder().encodeToString((arguments[1] + ":").getBytes());
    client.setRequestInterceptor(request -> request.header("Authorization", "Basic " + credentials));
    CheckoutSessionsApi sessions = new CheckoutSessionsApi(client);

    PriceData price = new PriceData().currency(CurrencyCode.SGD).unitAmount(180);
    CheckoutSessionCreate basket =
        new CheckoutSessionCreate()
            .addLineItemsItem(
                new LineItemCreate().priceData(price.productData(new ProductData().name("Kopi O"))).quantity(2))
            .successUrl("https://shop.example/thanks?order=7")
            .returnUrl("https://shop.example/order");
    CheckoutSession created = sessions.createCheckoutSession(basket, "order-7");
    CheckoutSession retrieved = sessions.retrieveCheckoutSession(created.getId());
    CheckoutSessionList listed =
        sessions.listCheckoutSessions(null, null, null, null, null, 5, null, CheckoutSessionStatus.OPEN);
    CheckoutSession expired = sessions.expireCheckoutSession(created.getId(), null);
    CheckoutSessionList later =
        sessions.listCheckoutSessions(null, created.getCreated() + 1, null, null, null, null, null, null);

    ObjectMapper json = client.getObjectMapper();
    ObjectNode transcript = json.createObjectNode();
    transcript.set("created", json.valueToTree(created));
    transcript.set("retrieved", json.valueToTree(retrieved));
    transcript.set("listed", json.valueToTree(listed.getData().stream().map(CheckoutSession::getId).toList()));
    transcript.set("expired", json.valueToTree(expired));
    transcript.put("expired again", refusal(json, () -> sessions.expireCheckoutSession(created.getId(), null)));
    transcript.put("unknown", refusal(json, () -> sessions.retrieveCheckoutSession("cs_test_unknown")));
    transcript.set("created later", json.valueToTree(later.getData()));
    System.out.println(json.writeValueAsString(transcript));
  }

  static String refusal(ObjectMapper json, Call call) throws Exception {
    try {
      throw new IllegalStateException("expected a refusal, got " + call.send());
    } catch (ApiException refused) {
      return json.readTree(refused.getResponseBody()).at("/error/code").asText();
    }
  }
}

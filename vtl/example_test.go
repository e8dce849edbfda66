package vtl_test

import (
	"fmt"

	"millrace/vtl"
)

func Example() {
	t, err := vtl.Compile("greeting", "#foreach($n in $names)Hello $n.toUpperCase()!#if($foreach.hasNext) #end#end", vtl.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	names := vtl.FromList(&vtl.List{Items: []vtl.Value{vtl.String("ada"), vtl.String("grace")}})
	out, err := t.Render(nil, vtl.Names{"names": names})
	fmt.Printf("%s %v\n", out, err)

	_, err = vtl.Compile("broken", "text\n#if($x", vtl.Options{})
	fmt.Println(err)
	// Output:
	// Hello ADA! Hello GRACE! <nil>
	// broken:2:7: #if needs ) here, not the end of the template
}
